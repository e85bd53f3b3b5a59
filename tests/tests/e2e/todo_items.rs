//! The items of a list, which are a root of the public Todo-Backend API, and the errors.

use e2e::{Api, Stack, harness, unique};
use serde_json::{Value, json};

/// A new list for one test.
struct List {
    todo: Api,
    /// The path of the list's items.
    root: String,
}

impl List {
    async fn new(stack: &Stack) -> Self {
        let todo = Api::of(stack, "todo").await;
        let path = format!("/lists/{}", unique("items"));
        todo.post(&path, &json!({"name": "list"})).await.expect(201);
        Self { root: format!("{path}/list/items"), todo }
    }

    async fn add(&self, item: Value) -> Value {
        self.todo.post(&self.root, &item).await.expect(201).json()
    }

    async fn all(&self) -> Value {
        self.todo.get(&self.root).await.expect(200).json()
    }

    async fn titles(&self) -> Vec<String> {
        let all = self.all().await;
        let titles = all.as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap());
        titles.map(str::to_owned).collect()
    }
}

fn url(item: &Value) -> &str {
    item["url"].as_str().expect("every item has a URL")
}

#[tokio::test]
async fn new_list_has_no_items() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    assert_eq!(list.all().await, json!([]));
}

#[tokio::test]
async fn created_item_is_returned_and_listed() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    let answer = list.todo.post(&list.root, &json!({"title": "walk the dog"})).await.expect(201);
    let item = answer.json();
    assert_eq!((&item["title"], &item["completed"]), (&json!("walk the dog"), &json!(false)));
    assert_eq!(answer.header("location"), url(&item));
    assert_eq!(list.todo.get(url(&item)).await.expect(200).json(), item);
    assert_eq!(list.all().await, json!([item]));
}

#[tokio::test]
async fn item_is_created_completed_with_an_order() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    let item = list.add(json!({"title": "a", "completed": true, "order": 95})).await;
    assert_eq!((&item["completed"], &item["order"]), (&json!(true), &json!(95)));
}

#[tokio::test]
async fn title_state_and_order_change_separately() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    let mut item = list.add(json!({"title": "before", "order": 10})).await;
    let url = url(&item).to_owned();
    for (field, value) in
        [("title", json!("after")), ("completed", json!(true)), ("order", json!(95))]
    {
        item[field] = value.clone();
        let changed = list.todo.patch(&url, &json!({field: value})).await.expect(200).json();
        assert_eq!(changed, item);
        assert_eq!(list.todo.get(&url).await.expect(200).json(), item);
        assert_eq!(list.all().await, json!([item]));
    }
}

#[tokio::test]
async fn items_are_sorted_by_order_then_creation() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    for item in [json!({"title": "b", "order": 2}), json!({"title": "c", "order": 2})] {
        list.add(item).await;
    }
    let last = list.add(json!({"title": "d"})).await;
    list.add(json!({"title": "a", "order": -1})).await;
    assert_eq!(list.titles().await, ["a", "b", "c", "d"]);
    list.todo.patch(url(&last), &json!({"order": -2})).await.expect(200);
    assert_eq!(list.titles().await, ["d", "a", "b", "c"]);
}

#[tokio::test]
async fn removal_of_items_keeps_the_list() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    let first = list.add(json!({"title": "first"})).await;
    list.add(json!({"title": "second"})).await;
    list.add(json!({"title": "third"})).await;
    list.todo.delete(url(&first)).await.expect(204);
    list.todo.get(url(&first)).await.problem(404);
    list.todo.delete(url(&first)).await.problem(404);
    assert_eq!(list.titles().await, ["second", "third"]);
    list.todo.delete(&list.root).await.expect(204);
    assert_eq!(list.all().await, json!([]));
}

#[tokio::test]
async fn markup_in_a_title_is_text() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    let title = "<script>alert('x')</script> \" & Robert'); DROP TABLE items;--";
    let item = list.add(json!({"title": title})).await;
    assert_eq!(item["title"], title);
    assert_eq!(list.titles().await, [title]);
}

#[tokio::test]
async fn wrong_fields_of_an_item_are_named() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    let cases = [
        (json!({}), vec!["title"]),
        (json!({"title": ""}), vec!["title"]),
        (json!({"title": "x".repeat(501)}), vec!["title"]),
        (json!({"title": "a", "completed": "yes"}), vec!["completed"]),
        (json!({"title": "a", "order": 1.5}), vec!["order"]),
        (json!({"title": 1, "completed": 1, "order": "1"}), vec!["title", "completed", "order"]),
    ];
    for (body, fields) in &cases {
        assert_eq!(list.todo.post(&list.root, body).await.wrong_fields(), *fields, "{body}");
    }
    let item = list.add(json!({"title": "as it was"})).await;
    for (body, fields) in cases.iter().skip(1) {
        assert_eq!(list.todo.patch(url(&item), body).await.wrong_fields(), *fields, "{body}");
    }
    assert_eq!(list.all().await, json!([item]));
}

#[tokio::test]
async fn item_of_another_list_is_not_found() {
    let stack = harness::calm().await;
    let (list, other) = (List::new(&stack).await, List::new(&stack).await);
    let item = other.add(json!({"title": "theirs"})).await;
    for id in [item["id"].to_string(), "9".repeat(18), "9".repeat(40), "x".into(), "-1".into()] {
        let path = format!("{}/{id}", list.root);
        list.todo.get(&path).await.problem(404);
        list.todo.patch(&path, &json!({"title": "mine"})).await.problem(404);
        list.todo.delete(&path).await.problem(404);
    }
    assert_eq!(other.titles().await, ["theirs"]);
}

#[tokio::test]
async fn items_of_a_missing_list_are_not_found() {
    let stack = harness::calm().await;
    let todo = Api::of(&stack, "todo").await;
    let root = format!("/lists/{}/none/items", unique("unknown"));
    todo.get(&root).await.problem(404);
    todo.post(&root, &json!({"title": "a"})).await.problem(404);
    todo.delete(&root).await.problem(404);
}

#[tokio::test]
async fn cross_origin_pages_may_call() {
    let stack = harness::calm().await;
    let list = List::new(&stack).await;
    let request = list.todo.request("GET", &list.root).header("origin", "http://else.example");
    let answer = list.todo.send(request).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    for method in ["POST", "PATCH", "DELETE"] {
        let preflight = list
            .todo
            .request("OPTIONS", &list.root)
            .header("origin", "http://else.example")
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "content-type");
        let answer = list.todo.send(preflight).await;
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert!(answer.header("access-control-allow-methods").contains(method), "{answer:?}");
        let headers = answer.header("access-control-allow-headers").to_ascii_lowercase();
        assert!(headers == "*" || headers.contains("content-type"), "{answer:?}");
    }
}
