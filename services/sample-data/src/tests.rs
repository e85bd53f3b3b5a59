//! The job against both services, which run in this process on real sockets.

use std::path::Path;

use kit::auth::Tokens;
use kit::client::Timeouts;
use kit::serve::{Drain, serve};
use kit::service::Fatal;
use kit::{BindAddress, Client, Database, Listeners, RequestContext, Settings, Shell};
use serde_json::{Value, json};

fn shell(name: &'static str) -> Shell {
    Shell::from_settings(name, &Settings::from_pairs([("OPEN_OWNERS", "true")])).unwrap()
}

struct Services {
    users: String,
    todo: String,
    folder: tempfile::TempDir,
}

impl Services {
    async fn start() -> Self {
        let memory = "sqlite::memory:";
        let database = Database::open(memory, &todo::store::MIGRATIONS).await.unwrap();
        let todo = spawn(todo::http::app(database, shell("todo")));
        let client = Client::new("TODO_URL", &todo, Timeouts::default()).unwrap();
        let database = Database::open(memory, &users::store::MIGRATIONS).await.unwrap();
        let client = users::todo::Todo::new(client);
        let users = spawn(users::http::app(database, client, Tokens::new("key"), shell("users")));
        Self { users, todo, folder: tempfile::tempdir().unwrap() }
    }

    async fn import(&self) -> Result<(), Fatal> {
        let folder = self.folder.path().to_str().unwrap();
        let (users, todo) = (&*self.users, &*self.todo);
        let urls = [("USERS_URL", users), ("TODO_URL", todo)];
        let pairs = urls.into_iter().chain([("DATA_DIR", folder), ("OPEN_OWNERS", "true")]);
        crate::run(Settings::from_pairs(pairs)).await
    }

    fn client(base: &str) -> Client {
        Client::new("URL", base, Timeouts::default()).unwrap()
    }

    async fn read(base: &str, path: &[&str]) -> Value {
        let response = Self::client(base).get(path, &RequestContext::start()).await.unwrap();
        assert_eq!(response.status(), 200, "{path:?}");
        response.json().await.unwrap()
    }

    async fn expect_the_sample(&self) {
        let lists = Self::read(&self.todo, &["lists"]).await;
        assert_eq!(lists, json!({"lists": ["home", "work", "school"]}));
        let read = |name: &str| -> Value {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
        };
        assert_eq!(Self::read(&self.users, &["users"]).await, read("users.json"));
        for (username, lists) in read("todo.json").as_object().unwrap() {
            let found = Self::read(&self.users, &["users", username, "lists"]).await;
            assert_eq!(found, *lists, "{username}");
        }
    }
}

fn spawn(app: axum::Router) -> String {
    let listeners = Listeners::bind(&BindAddress { host: "127.0.0.1".into(), port: 0 }).unwrap();
    let url = format!("http://{}", listeners.describe());
    tokio::spawn(serve(listeners, app, Drain::default(), std::future::pending()));
    url
}

#[tokio::test]
async fn closed_owners_get_no_sample() {
    // No service is asked.
    let folder = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:1";
    let data = folder.path().to_str().unwrap();
    let pairs = [("USERS_URL", nowhere), ("TODO_URL", nowhere), ("DATA_DIR", data)];
    crate::run(Settings::from_pairs(pairs)).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn import_equals_the_files() {
    let services = Services::start().await;
    services.import().await.unwrap();
    services.expect_the_sample().await;
}

#[tokio::test]
async fn removed_data_stays_removed() {
    let services = Services::start().await;
    services.import().await.unwrap();
    let todo = Services::client(&services.todo);
    let gone = todo.delete(&["lists", "aniket", "school"], &RequestContext::start()).await;
    assert_eq!(gone.unwrap().status(), 204);
    services.import().await.unwrap();
    let lists = Services::read(&services.todo, &["lists"]).await;
    assert_eq!(lists, json!({"lists": ["home", "work"]}));
}

#[tokio::test]
async fn interrupted_import_is_completed_without_duplicates() {
    let services = Services::start().await;
    let context = RequestContext::start();
    let user = json!({"username": "saurabh_badhwar", "id": 1, "name": "Saurabh Badhwar",
        "verified": 1});
    let users = Services::client(&services.users);
    assert_eq!(users.post(&["users"], &context, &user).await.unwrap().status(), 201);
    let home = json!({"name": "home", "items":
        ["Buy milk", "Look for pest control service", "Get a new carpet"]});
    let todo = Services::client(&services.todo);
    let path = ["lists", "saurabh_badhwar"];
    assert_eq!(todo.post(&path, &context, &home).await.unwrap().status(), 201);
    services.import().await.unwrap();
    services.expect_the_sample().await;
}

#[tokio::test]
async fn taken_id_fails_and_leaves_no_marker() {
    let services = Services::start().await;
    let user = json!({"username": "other", "id": 2, "name": "Other"});
    let users = Services::client(&services.users);
    let created = users.post(&["users"], &RequestContext::start(), &user).await;
    assert_eq!(created.unwrap().status(), 201);
    let error = services.import().await.unwrap_err();
    let expected = "failed to create the user `aniket`: the id 2 belongs to another user";
    assert_eq!(error.to_string(), expected);
    assert_eq!(std::fs::read_dir(services.folder.path()).unwrap().count(), 0);
}
