//! The items of one list over HTTP: a complete root of the public Todo-Backend API.
//!
//! Titles are single lines of text; markup in them is not interpreted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kit::pages::{self, Sequence};
use kit::{BaseUrl, Created, IfMatch, Once, Paging, Tag, Tagged, Written};

use super::access::ItemKey;
use crate::bodies::{ItemBody, ItemChange, NewItem};
use crate::error::Error;
use crate::keys::ListKey;
use crate::store::{FIRST, Item, ItemCursor, Store};

pub(super) async fn all(
    State(store): State<Store>,
    key: ListKey,
    paging: Paging<ItemCursor>,
    base: BaseUrl,
) -> Result<Written<Vec<ItemBody>>, Error> {
    sequence("[", "]", &paging, store, key, base).await
}

/// The items of a list between `open` and `close`.
pub(super) async fn sequence<B>(
    open: impl Into<String>,
    close: &'static str,
    paging: &Paging<ItemCursor>,
    store: Store,
    key: ListKey,
    base: BaseUrl,
) -> Result<Written<B>, Error> {
    let first = store.items(&key, paging.first(FIRST)).await?;
    let of_list = key.clone();
    let shape = Sequence::new(open, close, move |text: &mut pages::Json, item| {
        text.value(&describe(item, &of_list, &base));
    });
    Ok(pages::answer(paging, first, shape, move |span| {
        let (store, key) = (store.clone(), key.clone());
        async move { store.items(&key, span).await }
    }))
}

pub(super) async fn create(
    State(store): State<Store>,
    key: ListKey,
    base: BaseUrl,
    once: Once,
    new: NewItem,
) -> Result<Created<ItemBody>, Error> {
    let item = store.create_item(&key, new, &once).await?;
    let tag = Some(Tag::of(&item));
    let body = describe(item, &key, &base);
    Ok(Created { location: body.url.clone(), body, tag })
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
) -> Result<Tagged<ItemBody>, Error> {
    let item = store.item(&key, number(&key, &id)?).await?;
    Ok(Tagged(Tag::of(&item), Json(describe(item, &key, &base))))
}

pub(super) async fn change(
    State(store): State<Store>,
    ItemKey(key, id): ItemKey,
    base: BaseUrl,
    expected: IfMatch,
    change: ItemChange,
) -> Result<Tagged<ItemBody>, Error> {
    let item = store.change_item(&key, number(&key, &id)?, change, &expected).await?;
    Ok(Tagged(Tag::of(&item), Json(describe(item, &key, &base))))
}

pub(super) async fn delete(
    State(store): State<Store>,
    ItemKey(key, id): ItemKey,
    expected: IfMatch,
) -> Result<StatusCode, Error> {
    store.delete_item(&key, number(&key, &id)?, &expected).await?;
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
