//! The people of `users`: add, read, change, remove, and the errors.

use e2e::{Answer, Api, harness, unique};
use serde_json::{Value, json};

#[tokio::test]
async fn person_is_added_and_read_back() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let name = unique("ida");
    let body = json!({"username": name, "name": "Ida Lind", "verified": 1});
    let added = users.post("/users", &body).await.expect(201);
    let person = added.json();
    assert_eq!((&person["name"], &person["verified"]), (&json!("Ida Lind"), &json!(1)));
    assert!(person["id"].as_i64().is_some_and(|id| id > 4), "{person}");
    assert_eq!(users.get(added.header("location")).await.expect(200).json(), person);
    assert_eq!(users.get(&format!("/users/{name}")).await.expect(200).json(), person);
    assert_eq!(users.get("/users").await.expect(200).json()[&name], person);
}

#[tokio::test]
async fn new_person_is_unverified_without_lists() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let name = unique("jon");
    let person = users.post("/users", &json!({"username": name, "name": "Jon"})).await.expect(201);
    assert_eq!(person.json()["verified"], 0);
    let lists = users.get(&format!("/users/{name}/lists")).await.expect(200);
    assert_eq!(lists.json(), json!({}));
}

#[tokio::test]
async fn only_name_and_verification_change() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let name = unique("kim");
    let added = users.post("/users", &json!({"username": name, "name": "Kim"})).await.expect(201);
    let path = format!("/users/{name}");
    let mut person = added.json();
    for (field, sent, answered) in [
        ("name", json!("Kim Berg"), json!("Kim Berg")),
        ("verified", json!(true), json!(1)),
        ("verified", json!(0), json!(0)),
    ] {
        person[field] = answered;
        let changed = users.patch(&path, &json!({field: sent})).await.expect(200).json();
        assert_eq!(changed, person);
        assert_eq!(users.get(&path).await.expect(200).json(), person);
    }
    for field in ["username", "id"] {
        let sent = json!({field: 7, "name": "no"});
        assert_eq!(users.patch(&path, &sent).await.wrong_fields(), [field]);
    }
    assert_eq!(users.get(&path).await.expect(200).json(), person);
}

#[tokio::test]
async fn removal_of_a_person_removes_the_lists() {
    let stack = harness::calm().await;
    let (todo, users) = (Api::of(&stack, "todo").await, Api::of(&stack, "users").await);
    let name = unique("lea");
    let person = json!({"username": name, "name": "Lea"});
    let first = users.post("/users", &person).await.expect(201).json();
    let lists = format!("/lists/{name}");
    todo.post(&lists, &json!({"name": "secret", "items": ["diary"]})).await.expect(201);
    let path = format!("/users/{name}");
    users.delete(&path).await.expect(204);
    users.get(&path).await.problem(404);
    users.delete(&path).await.problem(404);
    todo.get(&lists).await.problem(404);
    // The next person with this username is a new one.
    let next = users.post("/users", &person).await.expect(201).json();
    assert_ne!(next["id"], first["id"]);
    let lists = users.get(&format!("{path}/lists")).await.expect(200).json();
    assert_eq!(lists, json!({}));
}

#[tokio::test]
async fn unknown_person_is_not_found() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let path = format!("/users/{}", unique("unknown"));
    let body = users.get(&path).await.problem(404);
    assert!(body["detail"].as_str().unwrap().contains("unknown"), "{body}");
    users.get(&format!("{path}/lists")).await.problem(404);
    users.patch(&path, &json!({"name": "x"})).await.problem(404);
    users.delete(&path).await.problem(404);
}

#[tokio::test]
async fn username_and_id_are_unique() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let name = unique("max");
    let add = async |body: Value| -> Answer { users.post("/users", &body).await };
    let first = add(json!({"username": name, "name": "Max"})).await.expect(201).json();
    add(json!({"username": name, "name": "Maxine"})).await.problem(409);
    let other = unique("max");
    add(json!({"username": other, "name": "Other", "id": first["id"]})).await.problem(409);
    users.get(&format!("/users/{other}")).await.problem(404);
    let kept = users.get(&format!("/users/{name}")).await.expect(200).json();
    assert_eq!(kept, first);
}

#[tokio::test]
async fn special_username_is_one_path_segment() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    for odd in ["ä ö/ü", "50%", "a?b#c", "<i>"] {
        let name = format!("{odd} {}", unique("nea"));
        let body = json!({"username": name, "name": odd});
        let added = users.post("/users", &body).await.expect(201);
        let read = users.get(added.header("location")).await.expect(200).json();
        assert_eq!(read, added.json());
        let lists = format!("{}/lists", added.header("location"));
        assert_eq!(users.get(&lists).await.expect(200).json(), json!({}));
    }
}

#[tokio::test]
async fn wrong_fields_of_a_person_are_named() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let name = unique("olga");
    let cases = [
        (json!({}), vec!["username", "name"]),
        (json!({"username": name}), vec!["name"]),
        (json!({"username": "", "name": "a"}), vec!["username"]),
        (json!({"username": "..", "name": "a"}), vec!["username"]),
        (json!({"username": "x".repeat(101), "name": "a"}), vec!["username"]),
        (json!({"username": name, "name": 1, "verified": 2}), vec!["name", "verified"]),
        (json!({"username": name, "name": "a", "verified": "yes"}), vec!["verified"]),
        (json!({"username": name, "name": "a", "id": 0}), vec!["id"]),
        (json!("olga"), vec!["body"]),
    ];
    for (body, fields) in cases {
        assert_eq!(users.post("/users", &body).await.wrong_fields(), fields, "{body}");
    }
    users.get(&format!("/users/{name}")).await.problem(404);
}

#[tokio::test]
async fn unreadable_body_is_rejected() {
    let stack = harness::calm().await;
    let users = Api::of(&stack, "users").await;
    let post = async |media: &str, body: &str| -> Answer {
        let request = users.request("POST", "/users").header("content-type", media);
        users.send(request.body(body.to_owned())).await
    };
    post("application/json", "{").await.problem(400);
    post("application/x-www-form-urlencoded", "username=a&name=b").await.problem(415);
    post("application/json", &format!("\"{}\"", "x".repeat(300 * 1024))).await.problem(413);
}

#[tokio::test]
async fn cross_origin_pages_may_call() {
    let stack = harness::stack().await;
    let users = Api::retrying(&stack, "users").await;
    let request = users.request("GET", "/users/luckas").header("origin", "http://else.example");
    let answer = users.send(request).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}
