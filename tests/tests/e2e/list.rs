//! A list for tests that write during a fault.

use std::collections::BTreeSet;

use e2e::{Api, Stack, unique};
use serde_json::json;

/// A list of items for writes.
#[derive(Clone)]
pub(crate) struct List {
    /// The client of the service `todo`.
    pub(crate) todo: Api,
    /// The path of the list's items.
    pub(crate) items: String,
}

/// Creates a list of a new user.
pub(crate) async fn new_list(stack: &Stack) -> List {
    let todo = Api::of(stack, "todo").await;
    let user = unique("fault");
    todo.post(&format!("/lists/{user}"), &json!({"name": "list"})).await.expect(201);
    List { todo, items: format!("/lists/{user}/list/items") }
}

impl List {
    /// The titles of the list's items.
    pub(crate) async fn titles(&self) -> BTreeSet<String> {
        let items = self.todo.get(&self.items).await.expect(200).json();
        let titles = items.as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap());
        titles.map(str::to_owned).collect()
    }
}
