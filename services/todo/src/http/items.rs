//! The items of one list over HTTP: a complete root of the public Todo-Backend API.
//!
//! Titles are single lines of text; markup in them is not interpreted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use kit::pages::{self, Sequence};
use kit::{BaseUrl, Fields, MAX_INTEGER};

use super::access::ItemKey;
use crate::error::Error;
use crate::store::{FIRST, Item, ItemChange, ListKey, MAX_ITEMS, NewItem, Store};

/// The longest title, in characters.
pub(super) const MAX_TITLE_CHARS: usize = 500;

/// An item as JSON.
#[derive(serde::Serialize)]
pub(super) struct ItemBody {
    id: i64,
    title: String,
    completed: bool,
    order: i64,
    /// Absent for an item that is never due.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    url: String,
}

impl ItemBody {
    pub(super) fn new(item: Item, key: &ListKey, base: &BaseUrl) -> Self {
        let id = item.id.to_string();
        let url = base.join(["lists", key.owner.username(), &key.list, "items", &id]);
        let Item { id, title, completed, order, due } = item;
        Self { id, title, completed, order, due, url }
    }
}

pub(super) async fn all(
    State(store): State<Store>,
    key: ListKey,
    base: BaseUrl,
) -> Result<Response, Error> {
    sequence("[", "]", store, key, base).await
}

/// The items of a list between `open` and `close`.
pub(super) async fn sequence(
    open: impl Into<String>,
    close: &'static str,
    store: Store,
    key: ListKey,
    base: BaseUrl,
) -> Result<Response, Error> {
    let first = store.items(&key, FIRST).await?;
    let of_list = key.clone();
    let shape = Sequence::new(open, close, move |text: &mut pages::Json, item| {
        text.value(&ItemBody::new(item, &of_list, &base));
    });
    Ok(pages::answer(first, shape, move |after| {
        let (store, key) = (store.clone(), key.clone());
        async move { store.items(&key, after).await }
    }))
}

pub(super) async fn create(
    State(store): State<Store>,
    key: ListKey,
    base: BaseUrl,
    mut fields: Fields,
) -> Result<impl IntoResponse, Error> {
    let new = NewItem {
        title: fields.required_text("title", MAX_TITLE_CHARS),
        completed: fields.flag("completed").unwrap_or(false),
        order: order(&mut fields),
        place: place(&mut fields),
        due: fields.date("due").flatten(),
    };
    // Clients send back items as they read them.
    fields.ignore(&["id", "url"]);
    fields.finish()?;
    let body = ItemBody::new(store.create_item(&key, new).await?, &key, &base);
    Ok((StatusCode::CREATED, [(LOCATION, body.url.clone())], Json(body)))
}

pub(super) async fn delete_all(
    State(store): State<Store>,
    key: ListKey,
) -> Result<StatusCode, Error> {
    store.delete_items(&key).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn read(
    State(store): State<Store>,
    ItemKey(key, id): ItemKey,
    base: BaseUrl,
) -> Result<Json<ItemBody>, Error> {
    let item = store.item(&key, number(&key, &id)?).await?;
    Ok(Json(ItemBody::new(item, &key, &base)))
}

pub(super) async fn change(
    State(store): State<Store>,
    ItemKey(key, id): ItemKey,
    base: BaseUrl,
    mut fields: Fields,
) -> Result<Json<ItemBody>, Error> {
    let change = ItemChange {
        title: fields.text("title", MAX_TITLE_CHARS),
        completed: fields.flag("completed"),
        order: order(&mut fields),
        place: place(&mut fields),
        due: fields.date("due"),
    };
    // Clients send back items as they read them.
    fields.ignore(&["id", "url"]);
    fields.finish()?;
    let item = store.change_item(&key, number(&key, &id)?, change).await?;
    Ok(Json(ItemBody::new(item, &key, &base)))
}

pub(super) async fn delete(
    State(store): State<Store>,
    ItemKey(key, id): ItemKey,
) -> Result<StatusCode, Error> {
    store.delete_item(&key, number(&key, &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn order(fields: &mut Fields) -> Option<i64> {
    fields.integer("order", -MAX_INTEGER..=MAX_INTEGER)
}

fn place(fields: &mut Fields) -> Option<i64> {
    fields.integer("place", 1..=MAX_ITEMS)
}

/// The item's number. An id that is not a number is not found.
fn number(key: &ListKey, id: &str) -> Result<i64, Error> {
    id.parse().map_err(|_| key.missing_item(id))
}
