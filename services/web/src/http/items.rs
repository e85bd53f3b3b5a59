//! The items of a list: add, change, tick, move, and remove with undo.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::App;
use super::page::{Form, Visitor, after, board, list_path, see_other};
use crate::error::Error;
use crate::views::{self, Notice, View};

pub(super) async fn create(
    State(app): State<App>,
    Path(list): Path<String>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Error> {
    let mut item = json!({"title": form.text("title"), "due": due(&form)});
    // The form that undoes a removal also sends these.
    if let Ok(place) = form.text("place").parse::<u32>() {
        item["place"] = place.into();
        item["completed"] = (form.text("completed") == "true").into();
    }
    let created = app.store.create_item(&visitor.owner()?, &list, item, form.key()).await;
    after(&app, &visitor, &list, created, &views::path(&["lists", &list, "items"]), &form).await
}

pub(super) async fn change(
    State(app): State<App>,
    Path((list, id)): Path<(String, String)>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Error> {
    let change = json!({"title": form.text("title"), "due": due(&form)});
    changed(&app, &visitor, (&list, &id, ""), change, &form).await
}

pub(super) async fn tick(
    State(app): State<App>,
    Path((list, id)): Path<(String, String)>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Error> {
    let change = json!({"completed": form.text("completed") == "true"});
    changed(&app, &visitor, (&list, &id, "tick"), change, &form).await
}

pub(super) async fn put(
    State(app): State<App>,
    Path((list, id)): Path<(String, String)>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Error> {
    let place = form.text("place").parse::<u32>().map_or(Value::Null, Value::from);
    changed(&app, &visitor, (&list, &id, "move"), json!({"place": place}), &form).await
}

/// Removes an item. The answer is the list with a form that undoes it: nothing needs to be stored.
pub(super) async fn delete(
    State(app): State<App>,
    Path((list, id)): Path<(String, String)>,
    visitor: Visitor,
    form: Form,
) -> Result<Response, Error> {
    let owner = visitor.owner()?;
    let removed = async {
        let item = app.store.item(&owner, &list, &id).await?;
        app.store.delete_item(&owner, &list, &id).await.map(|()| item)
    };
    let item = match removed.await {
        Ok(item) => item,
        // A page that was loaded again, or another window that was faster.
        Err(Error::Gone) => return Ok(see_other(&list_path(&list, form.text("show")))),
        Err(error) => {
            let path = views::path(&["lists", &list, "items", &id, "delete"]);
            return after(&app, &visitor, &list, Err(error), &path, &form).await;
        }
    };
    let (place, show, proof) = (form.text("place"), form.text("show"), visitor.cookies.proof());
    let undo = views::undo_form(&list, &item, place, show, &proof);
    let text = format!("Removed \u{201c}{}\u{201d}.", item.title);
    let notice = Notice { status: StatusCode::OK, text, form: Some(undo) };
    board(&app, &visitor, &list, View::of(form.text("show")), Some(notice)).await
}

async fn changed(
    app: &App,
    visitor: &Visitor,
    (list, id, action): (&str, &str, &str),
    change: Value,
    form: &Form,
) -> Result<Response, Error> {
    let changed = app.store.change_item(&visitor.owner()?, list, id, change).await;
    let segments = ["lists", list, "items", id, action];
    let path = views::path(segments.strip_suffix(&[""]).unwrap_or(&segments));
    after(app, visitor, list, changed, &path, form).await
}

/// The day in the form; null is none.
fn due(form: &Form) -> Value {
    match form.text("due") {
        "" => Value::Null,
        day => day.into(),
    }
}
