//! The application with PostgreSQL in a container, with services as processes and in containers.
//! Data survives restarts.
//!
//! The test creates the image and keeps it for runs of the end-to-end tests with the overlay.

use e2e::{Application, postgres_image};
use serde_json::json;
use xtask_test_support::engine;

/// The image's name in the overlay `debian`.
const IMAGE: &str = "localhost/postgres-of-debian";

/// Starts `todo` and `users`, or changes their placement.
#[track_caller]
fn up(application: &Application, more: &[&str]) {
    let up = ["up", "-d", "todo", "users", "--ports", "auto"];
    let overlays = ["--with", "postgres-image", "--with", "debian"];
    application.done(&[&up[..], &overlays, more].concat());
}

#[tokio::test]
async fn data_of_a_database_container_survives_it() {
    let Some(engine) = engine() else { return };
    if !postgres_image::make(engine, IMAGE) {
        return;
    }
    let application = Application::new("image");
    up(&application, &[]);
    let placement = |name: &str| application.service(name)["placement"].clone();
    assert_eq!((placement("database"), placement("todo")), ("container".into(), "process".into()));
    let (todo, users) = (application.api("todo"), application.api("users"));
    users.post("/users", &json!({"username": "ida", "name": "Ida"})).await.expect(201);
    todo.post("/lists/ida", &json!({"name": "home", "items": ["sweep"]})).await.expect(201);
    let written = json!({"home": ["sweep"]});
    assert_eq!(application.lists("ida").await, written);

    // Replaces the container.
    let run = application.service("database")["run"].as_u64().unwrap();
    application.done(&["restart", "database"]);
    assert_eq!(application.service("database")["run"], run + 1);
    assert_eq!(application.lists("ida").await, written);

    up(&application, &["--containers"]);
    assert_eq!(placement("todo"), "container");
    assert_eq!(application.lists("ida").await, written);

    application.done(&["down"]);
    up(&application, &["--containers"]);
    assert_eq!(application.lists("ida").await, written);
    let data = application.paths().data();
    assert!(data.join("database/PG_VERSION").exists(), "in {data:?}");
}
