//! Answers with any number of rows: read from the database and written in pages, so that the
//! memory of an answer does not grow with its length.
//!
//! Each page is one statement, and no database connection is held while a caller reads slowly. So
//! an answer of one page is consistent; rows that change during a longer answer may be missing.

use std::error::Error;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, LINK};
use axum::response::IntoResponse as _;
use futures_util::stream::try_unfold;
use serde::Serialize;

use crate::openapi::Written;
use crate::paging::{Paging, Span};
use crate::tags::Tag;

/// The number of rows in a page.
pub const ROWS: usize = 250;

/// Some rows, and where the next page starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// At most as many rows as the span has.
    pub rows: Vec<T>,
    /// The cursor of the last row; `None` on the last page.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// A page of the rows that a statement with [`Span::limit`] returned; `cursor` is the key of a
    /// row.
    pub fn new(mut rows: Vec<T>, span: &Span<C>, cursor: impl FnOnce(&T) -> C) -> Self {
        let is_last = rows.len() <= span.rows;
        rows.truncate(span.rows);
        let next = if is_last { None } else { rows.last().map(cursor) };
        Self { rows, next }
    }
}

/// Turns rows into one JSON text.
pub trait Shape<T>: Send + 'static {
    /// Appends the text for a row.
    fn row(&mut self, row: T, text: &mut Json);

    /// Appends what follows the last row.
    fn end(&mut self, text: &mut Json);
}

/// A JSON text that is being written.
#[derive(Debug, Default)]
pub struct Json(Vec<u8>);

impl Json {
    /// Appends punctuation.
    pub fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// The text so far.
    pub fn into_text(self) -> String {
        // Never lossy: only texts and JSON are appended.
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// Appends a value, which must not fail to serialise.
    pub fn value<T: Serialize>(&mut self, value: &T) {
        if let Err(error) = serde_json::to_writer(&mut self.0, value) {
            tracing::error!(%error, "failed to serialise a value");
        }
    }
}

/// A [`Shape`] of rows that are separated by commas.
pub struct Sequence<W> {
    /// What precedes the first row, until it is written.
    open: Option<String>,
    close: &'static str,
    write: W,
}

impl<W> Sequence<W> {
    /// The rows as `write` appends them, between `open` and `close`.
    pub fn new(open: impl Into<String>, close: &'static str, write: W) -> Self {
        Self { open: Some(open.into()), close, write }
    }
}

impl<T, W: Fn(&mut Json, T) + Send + 'static> Shape<T> for Sequence<W> {
    fn row(&mut self, row: T, text: &mut Json) {
        text.raw(self.open.take().as_deref().unwrap_or(","));
        (self.write)(text, row);
    }

    fn end(&mut self, text: &mut Json) {
        text.raw(self.open.take().as_deref().unwrap_or_default());
        text.raw(self.close);
    }
}

/// The answer with all rows, the JSON of a `B`: those of `first`, and those of the pages that
/// `read` returns. An error of `read` breaks the connection, so that the caller notices. A caller
/// that gave a limit gets only `first`, with the address of the next page. An answer of one page
/// has a tag.
pub fn answer<B, T, C, E, S, F>(
    paging: &Paging<C>,
    first: Page<T, C>,
    shape: S,
    read: impl Fn(Span<C>) -> F + Send + 'static,
) -> Written<B>
where
    T: Send + 'static,
    C: Serialize + Send + 'static,
    E: Error + Send + Sync + 'static,
    S: Shape<T>,
    F: Future<Output = Result<Page<T, C>, E>> + Send + 'static,
{
    let media = [(CONTENT_TYPE, "application/json")];
    let (mut first, mut shape) = (first, shape);
    let link = match (paging.limit(), &first.next) {
        (Some(_), Some(_)) => first.next.take().and_then(|cursor| paging.link(&cursor)),
        _ => None,
    };
    let (text, next) = write(first, &mut shape);
    let Some(cursor) = next else {
        let tag = Tag::of_bytes(&text).header().map(|(_, tag)| tag);
        let answer = Written::from((media, text).into_response());
        return answer.with_header(ETAG, tag).with_header(LINK, link);
    };
    let start = (shape, read, Some(text), Some(cursor));
    let pages = try_unfold(start, async |(mut shape, read, text, next)| {
        if let Some(text) = text {
            return Ok(Some((text, (shape, read, None, next))));
        }
        let Some(cursor) = next else { return Ok(None) };
        let page = read(Span::after(cursor)).await.inspect_err(|error| {
            tracing::error!(error = error as &dyn Error, "failed to read the next page");
        })?;
        let (text, next) = write(page, &mut shape);
        Ok::<_, E>(Some((text, (shape, read, None, next))))
    });
    (media, Body::from_stream(pages)).into_response().into()
}

fn write<T, C>(page: Page<T, C>, shape: &mut impl Shape<T>) -> (Vec<u8>, Option<C>) {
    let mut text = Json::default();
    for row in page.rows {
        shape.row(row, &mut text);
    }
    if page.next.is_none() {
        shape.end(&mut text);
    }
    (text.0, page.next)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::to_bytes;

    use super::*;

    /// The numbers from `from` up to `end`, a page at a time.
    async fn page(span: Span<usize>, end: usize) -> Result<Page<usize, usize>, Infallible> {
        let rows = (span.after..end).take(span.rows + 1).collect();
        Ok(Page::new(rows, &span, |last| last + 1))
    }

    #[tokio::test]
    async fn rows_of_all_pages_form_one_text() {
        for end in [0, 1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS] {
            let shape = Sequence::new("{\"all\":[", "]}", |text: &mut Json, row| text.value(&row));
            let first = page(Span::after(0), end).await.unwrap();
            let response: Written<Vec<u64>> =
                answer(&Paging::all(), first, shape, move |span| page(span, end));
            let response = response.into_response();
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let expected: Vec<_> = (0..end).collect();
            assert_eq!(body, serde_json::json!({"all": expected}), "{end}");
        }
    }

    #[tokio::test]
    async fn failed_page_breaks_the_body() {
        let shape = Sequence::new("[", "]", |text: &mut Json, row| text.value(&row));
        let first = page(Span::after(0), 2 * ROWS).await.unwrap();
        let failed = async |_| Err(std::io::Error::other("the storage failed"));
        let response: Written<Vec<u64>> = answer(&Paging::all(), first, shape, failed);
        let response = response.into_response();
        assert!(to_bytes(response.into_body(), 1 << 20).await.is_err());
    }
}
