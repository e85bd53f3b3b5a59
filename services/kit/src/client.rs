//! Calls to another service, with short timeouts and pooled connections.
//!
//! A GET is retried once on a fresh connection if the server had closed the pooled one. A request
//! that changes something is never retried; it always uses a fresh connection. The client follows
//! no redirects and uses no proxy. After failures in a row, calls fail at once until a trial call
//! is answered; 503 is a failure, too.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use tokio::time::timeout;

use crate::circuit::{Circuit, CircuitLimits};
use crate::context::RequestContext;
use crate::otlp::CallSpan;
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

/// A stream ends after this time.
const STREAM_TIME: Duration = Duration::from_secs(60 * 60);

/// A client for one service.
#[derive(Clone, Debug)]
pub struct Client {
    base: Arc<Url>,
    pooled: reqwest::Client,
    fresh: reqwest::Client,
    circuit: Circuit,
    /// The timeout for an answer, or the head of a stream.
    time: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call was not made: the service did not answer the calls before.
    #[error("the service did not answer the last calls")]
    Open,
    /// A stream did not begin in time.
    #[error("the stream did not begin in time")]
    Slow,
    /// It is unknown whether the request took effect.
    #[error(transparent)]
    Failed(#[from] reqwest::Error),
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
        let client = Self::new(variable, &base, Timeouts::from_settings(settings)?)?;
        Ok(client.with_circuit(CircuitLimits::from_settings(settings)?))
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
            base: Arc::new(url),
            pooled: builder().pool_idle_timeout(IDLE_TIME).build().map_err(|_| bad())?,
            fresh: builder().pool_max_idle_per_host(0).build().map_err(|_| bad())?,
            circuit: Circuit::new(CircuitLimits::default()),
            time: timeouts.answer,
        })
    }

    /// The same client with a closed circuit of these limits.
    pub fn with_circuit(self, limits: CircuitLimits) -> Self {
        Self { circuit: Circuit::new(limits), ..self }
    }

    /// Whether calls fail at once.
    pub fn is_open(&self) -> bool {
        self.circuit.is_open()
    }

    /// Sends a GET for the path of `segments`.
    ///
    /// # Errors
    /// When there is no answer. An answer with an error status is `Ok`.
    pub async fn get(
        &self,
        segments: &[&str],
        context: &RequestContext,
    ) -> Result<Response, CallError> {
        let url = self.url(segments);
        let span = CallSpan::begin(context, Method::GET, url.clone());
        let request = || self.pooled.get(url.clone()).headers(span.headers());
        self.guarded(&span, async {
            match request().send().await {
                Err(error) if closed_before_answering(&error) => {
                    tracing::debug!(%url, "the pooled connection was closed, using a fresh one");
                    self.fresh.get(url.clone()).headers(span.headers()).send().await
                }
                answer => answer,
            }
        })
        .await
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
    ) -> Result<Response, CallError> {
        if method == Method::GET {
            return self.get(segments, context).await;
        }
        let url = self.url(segments);
        let span = CallSpan::begin(context, method.clone(), url.clone());
        let request = self.fresh.request(method, url).headers(span.headers());
        let request = if let Some(body) = body { request.json(body) } else { request };
        self.guarded(&span, request.send()).await
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
    ) -> Result<Response, CallError> {
        self.send(Method::POST, segments, context, Some(body)).await
    }

    /// Sends a DELETE for the path of `segments`, without a retry.
    ///
    /// # Errors
    /// When there is no answer: it is then unknown whether the request took effect.
    pub async fn delete(
        &self,
        segments: &[&str],
        context: &RequestContext,
    ) -> Result<Response, CallError> {
        self.send(Method::DELETE, segments, context, None).await
    }

    /// Sends a GET with more headers, whose answer is a stream, on a fresh connection. The timeout
    /// is that of the head of the answer; the stream may last for an hour.
    ///
    /// # Errors
    /// When there is no answer. An answer with an error status is `Ok`.
    pub async fn stream(
        &self,
        segments: &[&str],
        context: &RequestContext,
        headers: HeaderMap,
    ) -> Result<Response, CallError> {
        let url = self.url(segments);
        let span = CallSpan::begin(context, Method::GET, url.clone());
        let request = self.fresh.get(url).headers(span.headers()).headers(headers);
        let request = request.timeout(STREAM_TIME);
        let head = async {
            match timeout(self.time, request.send()).await {
                Ok(answer) => answer.map_err(CallError::Failed),
                Err(_) => Err(CallError::Slow),
            }
        };
        self.guarded(&span, head).await
    }

    /// Makes a call unless the circuit is open, counts its result, and ends its span.
    async fn guarded<E: Into<CallError>>(
        &self,
        span: &CallSpan<'_>,
        call: impl Future<Output = Result<Response, E>>,
    ) -> Result<Response, CallError> {
        let pass = self.circuit.pass(Instant::now()).ok_or(CallError::Open)?;
        let answer = call.await;
        let status = answer.as_ref().ok().map(Response::status);
        span.end(status);
        let is_answered = status.is_some_and(|status| status != StatusCode::SERVICE_UNAVAILABLE);
        pass.end(is_answered, Instant::now());
        answer.map_err(Into::into)
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = Url::clone(&self.base);
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
