//! Which list a request is about, from its path and its caller: a person with a token uses the own
//! lists only, and a caller without a token uses lists that belong to no account.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use kit::auth::Caller;
use kit::openapi::{Operation, Reads};
use serde::Deserialize;

use crate::error::Error;
use crate::keys::{ListKey, Owner};

/// The parameters of a path; each route has the first few.
#[derive(Deserialize)]
struct Parameters {
    username: String,
    #[serde(default)]
    list: String,
    #[serde(default)]
    id: String,
}

/// One item: its list, and its id as it is in the path.
pub(super) struct ItemKey(pub(super) ListKey, pub(super) String);

async fn read<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<ItemKey, Error> {
    let caller = Caller::from_request_parts(parts, state).await?;
    let path = Path::<Parameters>::from_request_parts(parts, state).await;
    let Path(Parameters { username, list, id }) = path.map_err(Error::Path)?;
    let account = caller.is(&username)?;
    Ok(ItemKey(ListKey { owner: Owner::new(username, account)?, list }, id))
}

impl<S: Send + Sync> FromRequestParts<S> for Owner {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Ok(read(parts, state).await?.0.owner)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ListKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Ok(read(parts, state).await?.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ItemKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        read(parts, state).await
    }
}

macro_rules! reads {
    ($($key:ty),+) => {$(
        impl Reads for $key {
            fn describe(operation: &mut Operation) {
                Caller::describe(operation);
                operation.fails(StatusCode::FORBIDDEN);
            }
        }
    )+};
}

reads! { Owner, ListKey, ItemKey }
