//! The lists of `todo`: create, read, rename, remove, and the errors.

use e2e::{Answer, Api, harness, unique};
use serde_json::json;

#[tokio::test]
async fn list_is_created_with_items_and_read_back() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let user = unique("ann");
    let path = format!("/lists/{user}");
    let made = todo.post(&path, &json!({"name": "garden", "items": ["dig", "plant"]})).await;
    let made = made.expect(201);
    let body = made.json();
    assert_eq!((&body["username"], &body["name"]), (&json!(user), &json!("garden")));
    assert_eq!(made.header("location"), body["url"]);
    assert_eq!(todo.get(made.header("location")).await.expect(200).json(), body);
    assert_eq!(todo.get(&path).await.expect(200).json(), json!({"garden": ["dig", "plant"]}));
    let items = todo.get(body["items_url"].as_str().unwrap()).await.expect(200).json();
    assert_eq!(items, body["items"]);
    let names = todo.get("/lists").await.expect(200).json();
    assert!(names["lists"].as_array().unwrap().contains(&json!("garden")), "{names}");
}

#[tokio::test]
async fn renamed_list_keeps_items_and_position() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let path = format!("/lists/{}", unique("ben"));
    for name in ["first", "second"] {
        todo.post(&path, &json!({"name": name, "items": ["x"]})).await.expect(201);
    }
    let renamed = todo.patch(&format!("{path}/first"), &json!({"name": "zeroth"})).await;
    assert_eq!(renamed.expect(200).json()["name"], "zeroth");
    let lists = todo.get(&path).await.expect(200);
    assert_eq!(lists.text, r#"{"zeroth":["x"],"second":["x"]}"#);
    todo.get(&format!("{path}/first")).await.problem(404);
}

#[tokio::test]
async fn removed_lists_are_not_found() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let path = format!("/lists/{}", unique("cleo"));
    for name in ["one", "two", "three"] {
        todo.post(&path, &json!({"name": name})).await.expect(201);
    }
    todo.delete(&format!("{path}/two")).await.expect(204);
    todo.delete(&format!("{path}/two")).await.problem(404);
    assert_eq!(todo.get(&path).await.expect(200).json(), json!({"one": [], "three": []}));
    todo.delete(&path).await.expect(204);
    todo.get(&path).await.problem(404);
    todo.delete(&path).await.problem(404);
}

#[tokio::test]
async fn special_name_is_one_path_segment() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let path = format!("/lists/{}", unique("dora"));
    for name in ["a / b", "Einkäufe 🛒", "50%", "what?", "<b>", "a#b", "a+b&c=d"] {
        let made = todo.post(&path, &json!({"name": name})).await.expect(201).json();
        let read = todo.get(made["url"].as_str().unwrap()).await.expect(200).json();
        assert_eq!(read["name"], name);
    }
}

#[tokio::test]
async fn unknown_lists_are_not_found() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let unknown = format!("/lists/{}", unique("unknown"));
    let list = format!("{unknown}/none");
    let name = json!({"name": "x"});
    let detail = todo.get(&unknown).await.problem(404)["detail"].clone();
    assert!(detail.as_str().unwrap().contains("unknown"), "{detail}");
    todo.get(&list).await.problem(404);
    todo.patch(&list, &name).await.problem(404);
    todo.delete(&list).await.problem(404);
    todo.get("/nothing/here").await.problem(404);
}

#[tokio::test]
async fn list_name_is_unique_per_user() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let path = format!("/lists/{}", unique("eve"));
    let list = json!({"name": "home", "items": ["keep me"]});
    todo.post(&path, &list).await.expect(201);
    todo.post(&path, &json!({"name": "home"})).await.problem(409);
    todo.post(&path, &json!({"name": "work"})).await.expect(201);
    todo.patch(&format!("{path}/work"), &json!({"name": "home"})).await.problem(409);
    let lists = todo.get(&path).await.expect(200).json();
    assert_eq!(lists, json!({"home": ["keep me"], "work": []}));
    let other = format!("/lists/{}", unique("eve"));
    todo.post(&other, &list).await.expect(201);
}

#[tokio::test]
async fn concurrent_creations_of_a_list_succeed_once() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let path = format!("/lists/{}", unique("race"));
    let calls = (0..8).map(|_| {
        let (todo, path) = (todo.clone(), path.clone());
        tokio::spawn(async move { todo.post(&path, &json!({"name": "only"})).await.status })
    });
    let mut statuses = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        statuses.push(call.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn wrong_fields_of_a_list_are_named() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let path = format!("/lists/{}", unique("finn"));
    let cases = [
        (json!({}), vec!["name"]),
        (json!({"name": ""}), vec!["name"]),
        (json!({"name": "  "}), vec!["name"]),
        (json!({"name": ".."}), vec!["name"]),
        (json!({"name": "a\nb"}), vec!["name"]),
        (json!({"name": 7}), vec!["name"]),
        (json!({"name": "x".repeat(101)}), vec!["name"]),
        (json!({"name": null, "items": "milk"}), vec!["name", "items"]),
        (json!({"name": "ok", "items": ["milk", 3]}), vec!["items[1]"]),
        (json!(["name"]), vec!["body"]),
    ];
    for (body, fields) in cases {
        assert_eq!(todo.post(&path, &body).await.wrong_fields(), fields, "{body}");
    }
    todo.get(&path).await.problem(404);
}

#[tokio::test]
async fn unreadable_body_is_rejected() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let path = format!("/lists/{}", unique("gus"));
    let post = async |media: &str, body: String| -> Answer {
        let request = todo.request("POST", &path).header("content-type", media).body(body);
        todo.send(request).await
    };
    post("application/json", r#"{"name": "#.into()).await.problem(400);
    post("application/json", String::new()).await.problem(400);
    post("text/plain", r#"{"name": "a"}"#.into()).await.problem(415);
    let large = format!(r#"{{"name": "{}"}}"#, "x".repeat(300 * 1024));
    post("application/json", large).await.problem(413);
}

#[tokio::test]
async fn unsupported_method_names_the_supported_ones() {
    let stack = harness::stack().await;
    let todo = Api::retrying(&stack, "todo").await;
    let answer = todo.send(todo.request("PUT", "/lists")).await;
    assert!(answer.header("allow").contains("GET"), "{answer:?}");
    answer.problem(405);
}
