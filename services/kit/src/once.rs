//! Idempotency keys: a request that creates something can be repeated, and takes effect once.
//!
//! The key and the answer are stored in the transaction that creates, so both or neither survive
//! a crash. Only successes are kept: a request that failed may succeed when it is repeated.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sqlx::{Any, Row as _, Transaction};

use crate::auth::digest;
use crate::database::Migration;
use crate::openapi::{Operation, Reads};
use crate::problem::Problem;

/// How long a key is kept.
pub const KEY_TIME: Duration = Duration::from_secs(24 * 3600);

/// The keys that are kept for one owner; a new one replaces the oldest.
pub const MAX_KEYS: i64 = 100;

/// The longest key, in characters.
const MAX_KEY_CHARS: usize = 255;

/// The header of the key.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const TABLE: &str = "\
    CREATE TABLE idempotency_keys (owner TEXT NOT NULL, name TEXT NOT NULL, request TEXT NOT NULL, \
    answer TEXT, created BIGINT NOT NULL, PRIMARY KEY (owner, name)); \
    CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created);";

/// The key in `Idempotency-Key`, an extractor. Without the header a request is never a repetition.
/// It answers 400 to a key that is empty, too long, or not of visible ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Once(Option<Key>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    name: String,
    path: String,
}

/// The change of the schema that stores keys.
pub const fn migration(version: i64) -> Migration {
    Migration { version, description: "idempotency keys", sqlite: TABLE, postgres: TABLE }
}

impl Once {
    /// What the first request with this key created; `None` for a new key, which is then reserved
    /// in the transaction. A concurrent request with the same key waits for the end of it.
    ///
    /// # Errors
    /// 422 when the first request was another one, and the errors of the storage.
    pub async fn first<T: DeserializeOwned>(
        &self,
        write: &mut Transaction<'static, Any>,
        owner: &str,
        request: &impl Debug,
    ) -> Result<Option<T>, Problem> {
        let Some(Key { name, path }) = &self.0 else { return Ok(None) };
        let request = digest("idempotency", &format!("{path}\0{request:?}"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let old = sqlx::query("DELETE FROM idempotency_keys WHERE created <= $1");
        old.bind(micros(now) - micros(KEY_TIME)).execute(&mut **write).await?;
        let insert = sqlx::query(
            "INSERT INTO idempotency_keys (owner, name, request, created) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (owner, name) DO NOTHING",
        );
        let insert = insert.bind(owner.to_owned()).bind(name.clone()).bind(request.clone());
        if insert.bind(micros(now)).execute(&mut **write).await?.rows_affected() == 1 {
            return Ok(None);
        }
        let select = "SELECT request, answer FROM idempotency_keys WHERE owner = $1 AND name = $2";
        let select = sqlx::query(select).bind(owner.to_owned()).bind(name.clone());
        let row = select.fetch_one(&mut **write).await?;
        let (first, answer): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        if first != request {
            let detail = "another request has used this `Idempotency-Key`";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        let created = answer.and_then(|answer| serde_json::from_str(&answer).ok());
        created.map(Some).ok_or_else(|| {
            tracing::error!("the answer to the first request cannot be read");
            Problem::internal()
        })
    }

    /// Stores what the request has created, for a repetition. Without a key it does nothing.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn keep<T: Serialize>(
        &self,
        write: &mut Transaction<'static, Any>,
        owner: &str,
        created: &T,
    ) -> Result<(), sqlx::Error> {
        let Some(Key { name, .. }) = &self.0 else { return Ok(()) };
        let update = "UPDATE idempotency_keys SET answer = $3 WHERE owner = $1 AND name = $2";
        let answer = serde_json::to_string(created).unwrap_or_default();
        let update = sqlx::query(update).bind(owner.to_owned()).bind(name.clone()).bind(answer);
        update.execute(&mut **write).await?;
        let oldest = sqlx::query(
            "DELETE FROM idempotency_keys WHERE owner = $1 AND name <> $2 AND name NOT IN \
             (SELECT name FROM idempotency_keys WHERE owner = $1 \
             ORDER BY created DESC, name LIMIT $3 + 0)",
        );
        let oldest = oldest.bind(owner.to_owned()).bind(name.clone()).bind(MAX_KEYS);
        oldest.execute(&mut **write).await.map(drop)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let name = value.to_str().unwrap_or_default();
        if !(1..=MAX_KEY_CHARS).contains(&name.len()) {
            let detail =
                format!("`Idempotency-Key` must have 1 to {MAX_KEY_CHARS} ASCII characters");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Self(Some(Key { name: name.to_owned(), path: parts.uri.path().to_owned() })))
    }
}

impl Reads for Once {
    fn describe(operation: &mut Operation) {
        let text = "A key of the caller's choice: a repetition with the same key and body within a \
                    day gets the first answer, and creates nothing.";
        let schema = json!({"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS});
        operation.reads_parameter("header", "Idempotency-Key", text, schema);
        operation.fails(StatusCode::BAD_REQUEST);
    }
}
