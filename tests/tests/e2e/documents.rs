//! The OpenAPI documents against the running services: the examples, and the page that shows a
//! document. Its errors are provoked by the tests of each service.

use e2e::{Api, harness, unique};

const SERVICES: [&str; 2] = ["todo", "users"];

#[tokio::test]
async fn examples_of_bodies_are_accepted() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let document = todo.get("/openapi.json").await.expect(200).json();
    let example = |name: &str| document["components"]["schemas"][name]["examples"][0].clone();
    let user = unique("ann");
    let list = todo.post(&format!("/lists/{user}"), &example("NewList")).await.expect(201).json();
    let items = list["items_url"].as_str().unwrap();
    let item = todo.post(items, &example("NewItem")).await.expect(201).json();
    let changed = todo.patch(item["url"].as_str().unwrap(), &example("ItemChange")).await;
    assert_eq!(changed.expect(200).json()["title"], example("ItemChange")["title"]);
    let renamed = todo.patch(list["url"].as_str().unwrap(), &example("ListChange")).await;
    assert_eq!(renamed.expect(200).json()["name"], example("ListChange")["name"]);
}

#[tokio::test]
async fn page_shows_the_document() {
    let stack = harness::stack().await;
    for service in SERVICES {
        let answer = Api::retrying(&stack, service).await.get("/docs").await.expect(200);
        assert!(answer.header("content-type").starts_with("text/html"), "{answer:?}");
        assert!(answer.text.contains("fetch(\"openapi.json\")"), "{answer:?}");
        // Everything is in the page.
        assert!(!answer.text.contains("https://"), "{answer:?}");
    }
}
