//! The routes of `web`, in one table.
//!
//! A handler reads the form, calls the store, and answers with a page or a redirect to one.

mod assets;
mod events;
mod items;
mod lists;
mod page;
mod sessions;

use axum::Router;
use axum::routing::{get, post};
use kit::Shell;

use crate::store::Store;

/// The state of the handlers.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) store: Store,
    /// Whether cookies are for HTTPS only.
    pub(crate) secure: bool,
}

/// The complete application on these services.
pub fn app(store: Store, secure: bool, shell: Shell) -> Router {
    let router = Router::new()
        .route("/", get(lists::first).post(lists::create))
        .route("/sign-in", get(sessions::sign_in_page).post(sessions::sign_in))
        .route("/sign-up", get(sessions::sign_up_page).post(sessions::sign_up))
        .route("/sign-out", post(sessions::sign_out))
        .route("/lists/{list}", get(lists::read))
        .route("/lists/{list}/rename", post(lists::rename))
        .route("/lists/{list}/delete", post(lists::delete))
        .route("/lists/{list}/items", post(items::create))
        .route("/lists/{list}/items/{id}", post(items::change))
        .route("/lists/{list}/items/{id}/tick", post(items::tick))
        .route("/lists/{list}/items/{id}/move", post(items::put))
        .route("/lists/{list}/items/{id}/delete", post(items::delete))
        .route("/events", get(events::follow))
        .route("/assets/{name}", get(assets::read))
        .route("/{*path}", get(page::nothing_here));
    shell.around(router.with_state(App { store, secure }), None)
}
