//! Calls to another service: pooled connections, short timeouts, and one fresh try when a pooled
//! connection turns out to have been closed by the other side.
//!
//! It neither follows redirects nor uses a proxy, and it does not repeat what is not safe: a
//! request that changes something always goes out on a fresh connection instead.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, Response, Url};
use serde_json::Value;

use crate::context::RequestContext;
use crate::serve::HEAD_TIME;
use crate::settings::SettingError;

/// How long the other side may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer completely, connecting included.
    pub answer: Duration,
}

/// Shorter than the time after which our services close an idle connection.
const IDLE_TIME: Duration = Duration::from_secs(3);
const _: () = assert!(IDLE_TIME.as_secs() < HEAD_TIME.as_secs());

/// A service that is called by its base address.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    pooled: reqwest::Client,
    fresh: reqwest::Client,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), answer: Duration::from_secs(3) }
    }
}

impl Client {
    /// A client for the service at `base`, an `http` address; `variable` is named in the error.
    ///
    /// # Errors
    /// When `base` is no such address.
    pub fn new(
        variable: &'static str,
        base: &str,
        patience: Patience,
    ) -> Result<Self, SettingError> {
        let expected = "an address such as `http://127.0.0.1:5001`";
        let bad = |_| SettingError::bad(variable, base, expected);
        let url = Url::parse(base).map_err(|_| SettingError::bad(variable, base, expected))?;
        if url.scheme() != "http" || url.host_str().is_none() {
            return Err(SettingError::bad(variable, base, expected));
        }
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .connect_timeout(patience.connect)
                .timeout(patience.answer)
        };
        Ok(Self {
            base: url,
            pooled: builder().pool_idle_timeout(IDLE_TIME).build().map_err(bad)?,
            fresh: builder().pool_max_idle_per_host(0).build().map_err(bad)?,
        })
    }

    /// Reads what is at the path of `segments`.
    ///
    /// # Errors
    /// When no answer came; an answer that is no success is not an error here.
    pub async fn get(
        &self,
        segments: &[&str],
        context: &RequestContext,
    ) -> Result<Response, reqwest::Error> {
        let url = self.url(segments);
        let request = || self.pooled.get(url.clone()).headers(context.headers());
        match request().send().await {
            Err(error) if closed_before_answering(&error) => {
                tracing::debug!(%url, "the connection was closed, trying a fresh one");
                self.fresh.get(url).headers(context.headers()).send().await
            }
            outcome => outcome,
        }
    }

    /// Sends `body` to the path of `segments`, once.
    ///
    /// # Errors
    /// When no answer came: it is then unknown whether the request took effect.
    pub async fn post(
        &self,
        segments: &[&str],
        context: &RequestContext,
        body: &Value,
    ) -> Result<Response, reqwest::Error> {
        let request = self.fresh.post(self.url(segments)).headers(context.headers());
        request.json(body).send().await
    }

    /// Removes what is at the path of `segments`, once.
    ///
    /// # Errors
    /// When no answer came: it is then unknown whether the request took effect.
    pub async fn delete(
        &self,
        segments: &[&str],
        context: &RequestContext,
    ) -> Result<Response, reqwest::Error> {
        let url = self.url(segments);
        self.fresh.request(Method::DELETE, url).headers(context.headers()).send().await
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // An `http` address always has segments, so nothing is lost here.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// Whether the other side closed the connection without a byte of an answer.
fn closed_before_answering(error: &reqwest::Error) -> bool {
    if error.is_timeout() || error.is_connect() {
        return false;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<hyper::Error>()
            && (cause.is_incomplete_message() || cause.is_canceled() || cause.is_closed())
        {
            return true;
        }
        if let Some(cause) = cause.downcast_ref::<io::Error>()
            && matches!(cause.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        {
            return true;
        }
        source = cause.source();
    }
    false
}
