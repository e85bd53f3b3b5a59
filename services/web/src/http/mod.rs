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
use axum::middleware::map_response;
use axum::routing::{MethodRouter, any, get};
use kit::Shell;

use crate::store::Store;
use crate::views;

/// The state of the handlers.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) store: Store,
    /// Whether cookies are for HTTPS only.
    pub(crate) secure: bool,
}

/// Every route of the service: its path, and the handlers of its methods.
fn routes() -> [(&'static str, MethodRouter<App>); 15] {
    [
        ("/", get(lists::first).post(lists::create)),
        ("/sign-in", get(sessions::sign_in_page).post(sessions::sign_in)),
        ("/sign-up", get(sessions::sign_up_page).post(sessions::sign_up)),
        ("/sign-out", get(lists::back).post(sessions::sign_out)),
        ("/lists/{list}", get(lists::read)),
        ("/lists/{list}/rename", get(lists::back).post(lists::rename)),
        ("/lists/{list}/delete", get(lists::back).post(lists::delete)),
        ("/lists/{list}/items", get(lists::back).post(items::create)),
        ("/lists/{list}/items/{id}", get(lists::back).post(items::change)),
        ("/lists/{list}/items/{id}/tick", get(lists::back).post(items::tick)),
        ("/lists/{list}/items/{id}/move", get(lists::back).post(items::put)),
        ("/lists/{list}/items/{id}/delete", get(lists::back).post(items::delete)),
        ("/events", get(events::follow)),
        ("/assets/{name}", get(assets::read)),
        ("/{*path}", any(page::nothing_here)),
    ]
}

/// The paths of all routes, for tests.
pub fn paths() -> impl Iterator<Item = &'static str> {
    routes().into_iter().map(|(path, _)| path)
}

/// The complete application on these services.
pub fn app(store: Store, secure: bool, shell: Shell) -> Router {
    let routes = routes().into_iter();
    let router = routes.fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    let app = shell.around(router.with_state(App { store, secure }), None);
    app.layer(map_response(views::protected))
}
