//! The isolation of a stack: its name, its ports and its data.

use std::collections::{BTreeMap, BTreeSet};

use e2e::snapshot::Placement;
use e2e::{Api, Stack, database_server, harness, unique};
use serde_json::json;

#[tokio::test]
async fn stack_differs_from_the_default_stack() {
    let stack = harness::stack().await;
    let snapshot = stack.status().await.unwrap();
    assert_ne!(snapshot.stack, "dev");
    let ports: Vec<_> =
        snapshot.services.iter().flat_map(|service| service.ports.values()).copied().collect();
    let distinct: BTreeSet<_> = ports.iter().collect();
    assert_eq!(distinct.len(), ports.len(), "{ports:?}");
    for wanted in [5000, 5001] {
        assert!(!ports.contains(&wanted), "{wanted} is a port of the stack `dev`");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn services_store_data_in_the_stack_folder() {
    let stack = harness::calm().await;
    let data = stack.paths().data().canonicalize().unwrap();
    let server = database_server(&stack).await;
    if let Some(name) = server {
        // A running server creates this file.
        assert!(data.join(name).join("postmaster.pid").exists(), "`{name}` in {data:?}");
    }
    for name in ["todo", "users"] {
        // Ensures that the database is open.
        let api = Api::of(&stack, name).await;
        api.get("/readyz").await.expect(200);
        let pid = stack.service(name).status().await.unwrap().pid.unwrap();
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let files: Vec<_> = open
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.extension().is_some_and(|extension| extension == "db"))
            .collect();
        assert_eq!(files.is_empty(), server.is_some(), "`{name}` has {files:?} open");
        assert!(files.iter().all(|file| file.starts_with(&data)), "{files:?} in {data:?}");
    }
}

async fn placements(stack: &Stack) -> BTreeMap<String, Placement> {
    let services = stack.status().await.unwrap().services.into_iter();
    services.map(|service| (service.name.to_string(), service.placement)).collect()
}

#[tokio::test]
async fn fresh_stack_is_separate_and_ends_with_its_test() {
    let shared = harness::stack().await;
    let fresh = harness::fresh().await;
    assert_ne!(fresh.paths().folder(), shared.paths().folder());
    assert_eq!(placements(&fresh).await, placements(&shared).await);
    let folder = fresh.paths().folder().to_owned();
    let user = unique("fresh");
    let todo = Api::of(&fresh, "todo").await;
    todo.post(&format!("/lists/{user}"), &json!({"name": "list"})).await.expect(201);
    let shared_answer = Api::retrying(&shared, "todo").await.get(&format!("/lists/{user}")).await;
    assert!(!shared_answer.text.contains("list\""), "{shared_answer:?}");
    // A kill does not affect the shared stack.
    fresh.service("todo").kill().await.unwrap();
    drop(fresh);
    assert!(!folder.exists(), "{folder:?} still exists");
    Api::retrying(&shared, "todo").await.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn data_of_one_service_is_visible_through_the_other() {
    let stack = harness::calm().await;
    let (todo, users) = (Api::of(&stack, "todo").await, Api::of(&stack, "users").await);
    let user = unique("hana");
    users.post("/users", &json!({"username": user, "name": "Hana"})).await.expect(201);
    let list = json!({"name": "home", "items": ["sweep"]});
    todo.post(&format!("/lists/{user}"), &list).await.expect(201);
    let lists = users.get(&format!("/users/{user}/lists")).await.expect(200).json();
    assert_eq!(lists, json!({"home": ["sweep"]}));
}
