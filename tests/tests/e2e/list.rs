//! A list that a test writes to while something is broken.
//!
//! It asserts nothing but that it is there.

use std::collections::BTreeSet;

use e2e::{Api, Stack, unique};
use serde_json::json;

/// A list to write to.
#[derive(Clone)]
pub(crate) struct List {
    /// The service.
    pub(crate) todo: Api,
    /// The path of its items.
    pub(crate) items: String,
}

/// A list of a user that no other test has.
pub(crate) async fn new_list(stack: &Stack) -> List {
    let todo = Api::of(stack, "todo").await;
    let user = unique("fault");
    todo.post(&format!("/lists/{user}"), &json!({"name": "list"})).await.expect(201);
    List { todo, items: format!("/lists/{user}/list/items") }
}

impl List {
    /// The titles of its items.
    pub(crate) async fn titles(&self) -> BTreeSet<String> {
        let items = self.todo.get(&self.items).await.expect(200).json();
        let titles = items.as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap());
        titles.map(str::to_owned).collect()
    }
}
