//! Lists over HTTP: the two read paths of the original; create, rename and remove.
//!
//! Several lists are always in order of creation.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use kit::problem::FieldError;
use kit::{BaseUrl, Fields, Problem, check_name};
use serde::ser::{Serialize, Serializer};

use super::items::{ItemBody, MAX_TITLE_CHARS};
use crate::error::Error;
use crate::store::{Item, ListKey, Store};

/// The longest name of a user or a list, in characters.
const MAX_NAME_CHARS: usize = 100;

/// The largest number of items that a request creates together with their list.
const MAX_NEW_ITEMS: usize = 1000;

/// The name of every list.
#[derive(serde::Serialize)]
pub(super) struct Names {
    lists: Vec<String>,
}

/// A JSON object from list names to titles, with its members in the given order.
pub(super) struct Titles(Vec<(String, Vec<String>)>);

/// A list as JSON.
#[derive(serde::Serialize)]
pub(super) struct ListBody {
    username: String,
    name: String,
    url: String,
    items_url: String,
    items: Vec<ItemBody>,
}

impl Serialize for Titles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, titles)| (name, titles)))
    }
}

pub(super) async fn names(State(store): State<Store>) -> Result<Json<Names>, Error> {
    Ok(Json(Names { lists: store.list_names().await? }))
}

pub(super) async fn of_user(
    State(store): State<Store>,
    Path(username): Path<String>,
) -> Result<Json<Titles>, Error> {
    Ok(Json(Titles(store.lists(&username).await?)))
}

pub(super) async fn create(
    State(store): State<Store>,
    Path(username): Path<String>,
    base: BaseUrl,
    mut fields: Fields,
) -> Result<impl IntoResponse, Error> {
    let list = fields.required_name("name", MAX_NAME_CHARS);
    let titles = fields.texts("items", MAX_NEW_ITEMS, MAX_TITLE_CHARS);
    fields.finish()?;
    let invalid = |mistake| Problem::from(FieldError::new("username", mistake));
    check_name(&username, MAX_NAME_CHARS).map_err(invalid)?;
    let key = ListKey { username, list };
    let items = store.create_list(&key, &titles).await?;
    let body = describe(key, items, &base);
    Ok((StatusCode::CREATED, [(LOCATION, body.url.clone())], Json(body)))
}

pub(super) async fn delete_all(
    State(store): State<Store>,
    Path(username): Path<String>,
) -> Result<StatusCode, Error> {
    store.delete_lists(&username).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn read(
    State(store): State<Store>,
    Path(key): Path<ListKey>,
    base: BaseUrl,
) -> Result<Json<ListBody>, Error> {
    let items = store.items(&key).await?;
    Ok(Json(describe(key, items, &base)))
}

pub(super) async fn rename(
    State(store): State<Store>,
    Path(key): Path<ListKey>,
    base: BaseUrl,
    mut fields: Fields,
) -> Result<Json<ListBody>, Error> {
    let name = fields.required_name("name", MAX_NAME_CHARS);
    fields.finish()?;
    let items = store.rename_list(&key, &name).await?;
    Ok(Json(describe(ListKey { list: name, ..key }, items, &base)))
}

pub(super) async fn delete(
    State(store): State<Store>,
    Path(key): Path<ListKey>,
) -> Result<StatusCode, Error> {
    store.delete_list(&key).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn describe(key: ListKey, items: Vec<Item>, base: &BaseUrl) -> ListBody {
    let path = ["lists", &key.username, &key.list];
    ListBody {
        url: base.join(path),
        items_url: base.join(path.into_iter().chain(["items"])),
        items: items.into_iter().map(|item| ItemBody::new(item, &key, base)).collect(),
        username: key.username,
        name: key.list,
    }
}
