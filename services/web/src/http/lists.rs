//! The lists of the person: read one, create, rename and remove.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use kit::form::parameter;

use super::App;
use super::page::{Form, Visitor, after, board, list_path, see_other};
use crate::error::Error;
use crate::views::{self, View};

/// The first list; without lists, a page that creates one.
pub(super) async fn first(State(app): State<App>, visitor: Visitor) -> Result<Response, Error> {
    let lists = app.store.lists(&visitor.owner()?).await?;
    if let Some(first) = lists.summaries.first() {
        return Ok(see_other(&list_path(&first.name, "")));
    }
    let page = views::empty_page(visitor.person()?, &lists, None, "", &visitor.cookies.proof());
    Ok(views::answer(StatusCode::OK, page))
}

pub(super) async fn read(
    State(app): State<App>,
    Path(list): Path<String>,
    uri: Uri,
    visitor: Visitor,
) -> Result<Response, Error> {
    let edit = parameter(&uri, "edit").and_then(|id| id.parse().ok());
    let view = View { edit, ..View::of(&parameter(&uri, "show").unwrap_or_default()) };
    board(&app, &visitor, &list, view, None).await
}

/// The address of a form stays in the browser after an answer without a redirect, and a person can
/// load it again.
pub(super) async fn back(Path(path): Path<BTreeMap<String, String>>) -> Response {
    see_other(&path.get("list").map_or_else(|| "/".to_owned(), |list| list_path(list, "")))
}

pub(super) async fn create(
    State(app): State<App>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Error> {
    let name = form.text("name");
    let owner = visitor.owner()?;
    match app.store.create_list(&owner, name, form.key()).await {
        Err(error @ Error::Refused(_)) => {
            let (status, text) = (error.status(), Some(error.notice()));
            let (person, lists) = (visitor.person()?, app.store.lists(&owner).await?);
            let page = views::empty_page(person, &lists, text, name, &visitor.cookies.proof());
            Ok(views::answer(status, page))
        }
        created => after(&app, &visitor, name, created, "/", &form).await,
    }
}

pub(super) async fn rename(
    State(app): State<App>,
    Path(list): Path<String>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Error> {
    let name = form.text("name");
    let renamed = app.store.rename_list(&visitor.owner()?, &list, name).await;
    let shown = if renamed.is_ok() { name } else { &list };
    after(&app, &visitor, shown, renamed, &views::path(&["lists", &list, "rename"]), &form).await
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(list): Path<String>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Error> {
    match app.store.delete_list(&visitor.owner()?, &list).await {
        // Another window was faster.
        Ok(()) | Err(Error::Gone) => Ok(see_other("/")),
        failed => {
            let path = views::path(&["lists", &list, "delete"]);
            after(&app, &visitor, &list, failed, &path, &form).await
        }
    }
}
