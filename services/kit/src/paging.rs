//! Pages that a caller asks for: `limit` and `cursor` in the address, and `Link` in the answer.
//!
//! A cursor is opaque for callers: the JSON of the last row's key in base64. Without `limit` an
//! answer has all rows.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::base_url::BaseUrl;
use crate::form::parameter;
use crate::openapi::{Operation, Reads};
use crate::pages::ROWS;
use crate::problem::Problem;

/// The rows that one statement reads: those behind `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span<C> {
    /// The key of the row before.
    pub after: C,
    /// The largest number of rows in a page.
    pub rows: usize,
}

/// The page that a caller asks for, an extractor. It answers 400 to values that are not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging<C> {
    limit: Option<usize>,
    after: Option<C>,
    /// The absolute URL without the query.
    url: String,
}

impl<C> Span<C> {
    /// The rows behind `after`, as many as an answer without a limit reads at once.
    pub fn after(after: C) -> Self {
        Self { after, rows: ROWS }
    }

    /// The number in the statement's `LIMIT`. One more row shows that there is a next page.
    ///
    /// Write `LIMIT $1 + 0`: SQLite plans a statement with `LIMIT $1` again each time it runs.
    pub fn limit(&self) -> i64 {
        self.rows as i64 + 1
    }
}

impl<C> Paging<C> {
    /// All rows.
    pub const fn all() -> Self {
        Self { limit: None, after: None, url: String::new() }
    }

    /// The largest number of rows, if the caller gave one.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The rows to read first; `start` is before the first row.
    pub fn first(&self, start: C) -> Span<C>
    where
        C: Clone,
    {
        Span { after: self.after.clone().unwrap_or(start), rows: self.limit.unwrap_or(ROWS) }
    }

    /// The value of the header `Link` that names the page behind `cursor`.
    pub fn link(&self, cursor: &C) -> Option<HeaderValue>
    where
        C: Serialize,
    {
        let cursor = URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).ok()?);
        let (url, limit) = (&self.url, self.limit?);
        HeaderValue::from_str(&format!("<{url}?limit={limit}&cursor={cursor}>; rel=\"next\"")).ok()
    }

    fn of(uri: &Uri, base: &BaseUrl) -> Result<Self, Problem>
    where
        C: DeserializeOwned,
    {
        let url = base.with_path(uri.path());
        let (limit, cursor) = (parameter(uri, "limit"), parameter(uri, "cursor"));
        if limit.is_none() && cursor.is_none() {
            return Ok(Self { limit: None, after: None, url });
        }
        let limit = limit.map_or(Some(ROWS), |limit| limit.parse().ok());
        let limit = limit.filter(|limit| (1..=ROWS).contains(limit));
        let Some(limit) = limit else {
            return Err(malformed(format!("`limit` must be a whole number from 1 to {ROWS}")));
        };
        let after = cursor.map(|cursor| {
            let key = URL_SAFE_NO_PAD.decode(cursor).ok();
            let key = key.and_then(|key| serde_json::from_slice(&key).ok());
            key.ok_or_else(|| malformed("`cursor` is not one that a `Link` of this path has"))
        });
        Ok(Self { limit: Some(limit), after: after.transpose()?, url })
    }
}

impl<C: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Paging<C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(base) = BaseUrl::from_request_parts(parts, state).await;
        Self::of(&parts.uri, &base)
    }
}

impl<C> Reads for Paging<C> {
    fn describe(operation: &mut Operation) {
        let limit = json!({"type": "integer", "minimum": 1, "maximum": ROWS});
        let text =
            "The largest number of rows. The header `Link` names the next page, if there is one.";
        operation.reads_parameter("query", "limit", text, limit);
        let cursor = json!({"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_-]+$"});
        let text = "Where the page starts: only a `Link` has a valid one.";
        operation.reads_parameter("query", "cursor", text, cursor);
        operation.answers_header(StatusCode::OK, "Link", "The next page, with `limit`.");
        operation.fails(StatusCode::BAD_REQUEST);
    }
}

fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn paging(target: &str) -> Result<Paging<(i64, String)>, Problem> {
        let request = axum::http::Request::get(target).header("host", "h:1").body(()).unwrap();
        Paging::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn link_leads_to_the_rows_behind() {
        let first = paging("/lists/a%20b?limit=2").await.unwrap();
        let start = (0, String::new());
        assert_eq!(first.first(start.clone()), Span { after: start.clone(), rows: 2 });
        let link = first.link(&(7, "ü?&".to_owned())).unwrap();
        let target = link.to_str().unwrap().strip_prefix("<http://h:1").unwrap();
        let target = target.strip_suffix(">; rel=\"next\"").unwrap();
        assert!(target.starts_with("/lists/a%20b?limit=2&cursor="), "{target}");
        let next = paging(target).await.unwrap();
        assert_eq!(next.first(start), Span { after: (7, "ü?&".to_owned()), rows: 2 });
    }

    #[tokio::test]
    async fn without_limit_there_is_no_link() {
        let all = paging("/lists?other=1").await.unwrap();
        assert_eq!(all.first((0, String::new())).rows, ROWS);
        assert_eq!(all.link(&(1, String::new())), None);
    }

    #[tokio::test]
    async fn invalid_values_are_malformed() {
        for query in ["limit=0", "limit=251", "limit=x", "limit=", "limit=1&cursor=x", "cursor=x"] {
            let problem = paging(&format!("/lists?{query}")).await.unwrap_err();
            assert_eq!(problem.status, 400, "{query}");
        }
    }
}
