//! The application on a PostgreSQL server of an image: beside processes and among containers,
//! and what is stored in it when it is started again.
//!
//! The image is made here, and stays for those who run the end-to-end tests on it.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::harness::{cargo, workspace_of};
use e2e::{Api, postgres_image};
use serde_json::{Value, json};

/// The image's name in the overlay `debian`.
const IMAGE: &str = "localhost/postgres-of-debian";

/// The application's stack with files of its own; it ends, and they go, when this is dropped.
struct Application {
    root: PathBuf,
    state: tempfile::TempDir,
}

impl Application {
    fn run(&self, args: &[&str]) -> Result<String, String> {
        let mut command = cargo(&self.root);
        command.env("XTASK_STATE_DIR", self.state.path()).arg("xtask").args(args);
        let output = command.args(["--stack", "image"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(printed).ok_or(said)
    }

    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        self.run(args).unwrap_or_else(|said| panic!("{args:?}: {said}"))
    }

    /// Starts `todo` and `users`, or changes where they run.
    #[track_caller]
    fn up(&self, more: &[&str]) {
        let up = ["up", "-d", "todo", "users", "--ports", "auto"];
        let overlays = ["--with", "postgres-image", "--with", "debian"];
        self.done(&[&up[..], &overlays, more].concat());
    }

    fn service(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.done(&["status", "--json"])).unwrap();
        let mut services = status["services"].as_array().unwrap().iter();
        services.find(|service| service["name"] == name).unwrap().clone()
    }

    fn api(&self, name: &str) -> Api {
        Api::new(self.service(name)["url"].as_str().unwrap())
    }

    /// What was written by way of both services.
    async fn lists(&self) -> Value {
        self.api("users").get("/users/ida/lists").await.expect(200).json()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.run(&["down", "--data"]).ok();
    }
}

/// The engine, if there is one that answers.
fn engine() -> Option<&'static Path> {
    let found = ["docker", "podman"].into_iter().map(Path::new).find(|engine| {
        Command::new(engine).arg("version").output().is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        println!("SKIPPED: no container engine answers on this machine");
    }
    found
}

#[tokio::test]
async fn what_a_server_of_an_image_stores_outlives_its_containers() {
    let Some(engine) = engine() else { return };
    if !postgres_image::make(engine, IMAGE) {
        return;
    }
    let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let application = Application { root, state: tempfile::tempdir().unwrap() };
    application.up(&[]);
    let placement = |name: &str| application.service(name)["placement"].clone();
    assert_eq!((placement("database"), placement("todo")), ("container".into(), "process".into()));
    let (todo, users) = (application.api("todo"), application.api("users"));
    users.post("/users", &json!({"username": "ida", "name": "Ida"})).await.expect(201);
    todo.post("/lists/ida", &json!({"name": "home", "items": ["sweep"]})).await.expect(201);
    let written = json!({"home": ["sweep"]});
    assert_eq!(application.lists().await, written);

    // A new container of the same server.
    let run = application.service("database")["run"].as_u64().unwrap();
    application.done(&["restart", "database"]);
    assert_eq!(application.service("database")["run"], run + 1);
    assert_eq!(application.lists().await, written);

    application.up(&["--containers"]);
    assert_eq!(placement("todo"), "container");
    assert_eq!(application.lists().await, written);

    application.done(&["down"]);
    application.up(&["--containers"]);
    assert_eq!(application.lists().await, written);
    let data = application.state.path().read_dir().unwrap().next().unwrap().unwrap().path();
    assert!(data.join("image/data/database/PG_VERSION").exists(), "in {data:?}");
}
