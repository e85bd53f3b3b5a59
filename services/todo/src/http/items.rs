//! The items of one list over HTTP: a complete root of the public Todo-Backend API.
//!
//! Titles are single lines of text; markup in them is not interpreted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kit::pages::{self, Sequence};
use kit::{BaseUrl, Created, Written};

use super::access::ItemKey;
use crate::bodies::{ItemBody, ItemChange, NewItem};
use crate::error::Error;
use crate::store::{FIRST, Item, ListKey, Store};

pub(super) async fn all(
    State(store): State<Store>,
    key: ListKey,
    base: BaseUrl,
) -> Result<Written<Vec<ItemBody>>, Error> {
    sequence("[", "]", store, key, base).await
}

/// The items of a list between `open` and `close`.
pub(super) async fn sequence<B>(
    open: impl Into<String>,
    close: &'static str,
    store: Store,
    key: ListKey,
    base: BaseUrl,
) -> Result<Written<B>, Error> {
    let first = store.items(&key, FIRST).await?;
    let of_list = key.clone();
    let shape = Sequence::new(open, close, move |text: &mut pages::Json, item| {
        text.value(&describe(item, &of_list, &base));
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
    new: NewItem,
) -> Result<Created<ItemBody>, Error> {
    let body = describe(store.create_item(&key, new).await?, &key, &base);
    Ok(Created { location: body.url.clone(), body })
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
    Ok(Json(describe(item, &key, &base)))
}

pub(super) async fn change(
    State(store): State<Store>,
    ItemKey(key, id): ItemKey,
    base: BaseUrl,
    change: ItemChange,
) -> Result<Json<ItemBody>, Error> {
    let item = store.change_item(&key, number(&key, &id)?, change).await?;
    Ok(Json(describe(item, &key, &base)))
}

pub(super) async fn delete(
    State(store): State<Store>,
    ItemKey(key, id): ItemKey,
) -> Result<StatusCode, Error> {
    store.delete_item(&key, number(&key, &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The body of an item of this list.
pub(super) fn describe(item: Item, key: &ListKey, base: &BaseUrl) -> ItemBody {
    let id = item.id.to_string();
    let url = base.join(["lists", key.owner.username(), &key.list, "items", &id]);
    let Item { id, title, completed, order, due } = item;
    ItemBody { id, title, completed, order, due, url }
}

/// The item's number. An id that is not a number is not found.
fn number(key: &ListKey, id: &str) -> Result<i64, Error> {
    id.parse().map_err(|_| key.missing_item(id))
}
