//! The paths of the original, with its answers for the sample data.
//!
//! No test changes the sample data.

use e2e::{Api, harness};
use serde_json::{Value, json};

#[tokio::test]
async fn both_services_greet() {
    let stack = harness::stack().await;
    for name in ["todo", "users"] {
        let answer = Api::retrying(&stack, name).await.get("/").await.expect(200);
        assert!(answer.header("content-type").starts_with("text/plain"), "{answer:?}");
        assert!(answer.text.contains(name) && answer.text.contains("up"), "{answer:?}");
    }
}

#[tokio::test]
async fn todo_returns_all_list_names() {
    let stack = harness::stack().await;
    let body = Api::retrying(&stack, "todo").await.get("/lists").await.expect(200).json();
    let names: Vec<_> = body["lists"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
    for name in ["home", "work", "school"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
}

#[tokio::test]
async fn todo_returns_lists_of_a_user_in_order() {
    let stack = harness::stack().await;
    let todo = Api::retrying(&stack, "todo").await;
    let body = todo.get("/lists/saurabh_badhwar").await.expect(200).json();
    assert_eq!(body, lists_of_saurabh());
    let body = todo.get("/lists/aniket").await.expect(200).json();
    assert_eq!(body, json!({"school": ["Complete homework", "Prepare for test"]}));
}

#[tokio::test]
async fn users_returns_all_people_sorted() {
    let stack = harness::stack().await;
    let answer = Api::retrying(&stack, "users").await.get("/users").await.expect(200);
    let body = answer.json();
    assert_eq!(body["saurabh_badhwar"], saurabh());
    assert_eq!(body["aniket"], json!({"id": 2, "name": "Aniket Sharma", "verified": 1}));
    assert_eq!(body["luckas"], json!({"id": 4, "name": "Luckas Friendel", "verified": 0}));
    // Parsing loses the order of keys, so this checks the text.
    let at = |name: &str| answer.text.find(&format!("\"{name}\"")).unwrap();
    assert!(at("aniket") < at("luckas") && at("luckas") < at("saurabh_badhwar"), "{}", answer.text);
}

#[tokio::test]
async fn users_returns_one_person() {
    let stack = harness::stack().await;
    let users = Api::retrying(&stack, "users").await;
    assert_eq!(users.get("/users/saurabh_badhwar").await.expect(200).json(), saurabh());
}

#[tokio::test]
async fn users_returns_the_lists_of_todo() {
    let stack = harness::stack().await;
    let users = Api::retrying(&stack, "users").await;
    let answer = users.get("/users/saurabh_badhwar/lists").await.expect(200);
    assert_eq!(answer.json(), lists_of_saurabh());
    let todo = Api::retrying(&stack, "todo").await.get("/lists/saurabh_badhwar").await;
    assert_eq!(answer.text, todo.text, "the same text");
}

fn saurabh() -> Value {
    json!({"id": 1, "name": "Saurabh Badhwar", "verified": 1})
}

fn lists_of_saurabh() -> Value {
    json!({
        "home": ["Buy milk", "Look for pest control service", "Get a new carpet"],
        "work": ["Complete the blogpost", "Create presentation for meeting"],
    })
}
