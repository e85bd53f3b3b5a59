//! Style, script and icon.
//!
//! Their addresses contain the version of their content, so browsers keep them for good.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::views::{self, ASSETS, nothing_page};

pub(super) async fn read(Path(name): Path<String>) -> Response {
    let Some((_, media, text)) = ASSETS.into_iter().find(|(known, ..)| *known == name) else {
        return views::answer(StatusCode::NOT_FOUND, nothing_page());
    };
    let headers = [(CONTENT_TYPE, media), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, text).into_response()
}
