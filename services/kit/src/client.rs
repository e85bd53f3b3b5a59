//! Calls to another service, with short timeouts and pooled connections.
//!
//! A GET is retried once on a fresh connection if the server had closed the pooled one. A request
//! that changes something is never retried; it always uses a fresh connection. The client follows
//! no redirects and uses no proxy.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, Response, Url};
use serde_json::Value;

use crate::context::RequestContext;
use crate::serve::HEAD_TIME;
use crate::settings::{SettingError, Settings};

/// The timeouts of a call.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the connection to be established.
    pub connect: Duration,
    /// For the complete answer, connecting included.
    pub answer: Duration,
}

/// Idle pooled connections are closed after this time, before the server closes them.
const IDLE_TIME: Duration = Duration::from_secs(3);
const _: () = assert!(IDLE_TIME.as_secs() < HEAD_TIME.as_secs());

/// A client for one service.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    pooled: reqwest::Client,
    fresh: reqwest::Client,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), answer: Duration::from_secs(3) }
    }
}

impl Timeouts {
    /// Reads `CALL_CONNECT_TIMEOUT` and `CALL_TIMEOUT`.
    ///
    /// # Errors
    /// When one of them is not a time.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let default = Self::default();
        Ok(Self {
            connect: settings.time("CALL_CONNECT_TIMEOUT", default.connect)?,
            answer: settings.time("CALL_TIMEOUT", default.answer)?,
        })
    }
}

impl Client {
    /// A client for the service whose address the variable `variable` contains, with the timeouts
    /// of the settings.
    ///
    /// # Errors
    /// When the address or a timeout is missing or invalid.
    pub fn from_settings(
        variable: &'static str,
        settings: &Settings,
    ) -> Result<Self, SettingError> {
        let example = "http://127.0.0.1:5001";
        let base = settings.required(variable, "the address of a service", example)?;
        Self::new(variable, &base, Timeouts::from_settings(settings)?)
    }

    /// A client for the service at `base`, an `http` URL from the variable `variable`.
    ///
    /// # Errors
    /// When `base` is not an `http` URL with a host; the error names the variable.
    pub fn new(
        variable: &'static str,
        base: &str,
        timeouts: Timeouts,
    ) -> Result<Self, SettingError> {
        let expected = "an address such as `http://127.0.0.1:5001`";
        let bad = || SettingError::bad(variable, base, expected);
        let url = Url::parse(base).map_err(|_| bad())?;
        if url.scheme() != "http" || url.host_str().is_none() {
            return Err(bad());
        }
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .connect_timeout(timeouts.connect)
                .timeout(timeouts.answer)
        };
        Ok(Self {
            base: url,
            pooled: builder().pool_idle_timeout(IDLE_TIME).build().map_err(|_| bad())?,
            fresh: builder().pool_max_idle_per_host(0).build().map_err(|_| bad())?,
        })
    }

    /// Sends a GET for the path of `segments`.
    ///
    /// # Errors
    /// When there is no answer. An answer with an error status is `Ok`.
    pub async fn get(
        &self,
        segments: &[&str],
        context: &RequestContext,
    ) -> Result<Response, reqwest::Error> {
        let url = self.url(segments);
        let request = || self.pooled.get(url.clone()).headers(context.headers());
        match request().send().await {
            Err(error) if closed_before_answering(&error) => {
                tracing::debug!(%url, "the pooled connection was closed, retrying on a fresh one");
                self.fresh.get(url).headers(context.headers()).send().await
            }
            answer => answer,
        }
    }

    /// Sends any request once, with a JSON body if there is one. A GET uses a pooled connection.
    ///
    /// # Errors
    /// When there is no answer: it is then unknown whether the request took effect.
    pub async fn send(
        &self,
        method: Method,
        segments: &[&str],
        context: &RequestContext,
        body: Option<&Value>,
    ) -> Result<Response, reqwest::Error> {
        if method == Method::GET {
            return self.get(segments, context).await;
        }
        let request = self.fresh.request(method, self.url(segments)).headers(context.headers());
        match body {
            Some(body) => request.json(body).send().await,
            None => request.send().await,
        }
    }

    /// Posts `body` to the path of `segments`, without a retry.
    ///
    /// # Errors
    /// When there is no answer: it is then unknown whether the request took effect.
    pub async fn post(
        &self,
        segments: &[&str],
        context: &RequestContext,
        body: &Value,
    ) -> Result<Response, reqwest::Error> {
        let request = self.fresh.post(self.url(segments)).headers(context.headers());
        request.json(body).send().await
    }

    /// Sends a DELETE for the path of `segments`, without a retry.
    ///
    /// # Errors
    /// When there is no answer: it is then unknown whether the request took effect.
    pub async fn delete(
        &self,
        segments: &[&str],
        context: &RequestContext,
    ) -> Result<Response, reqwest::Error> {
        self.fresh.delete(self.url(segments)).headers(context.headers()).send().await
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Never fails: `new` accepts only `http` URLs, which have segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// Whether the server closed the connection before the first byte of an answer.
fn closed_before_answering(error: &reqwest::Error) -> bool {
    let closed = |cause: &(dyn Error + 'static)| {
        let http = cause.downcast_ref::<hyper::Error>();
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        http.is_some_and(|e| e.is_incomplete_message() || e.is_canceled() || e.is_closed())
            || matches!(io, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe))
    };
    !error.is_timeout()
        && !error.is_connect()
        && successors(error.source(), |&cause| cause.source()).any(closed)
}
