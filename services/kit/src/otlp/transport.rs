//! Sends a batch with the HTTP client that this crate has anyway, and reports failures rarely.

use std::error::Error;
use std::iter::successors;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::redirect::Policy;
use tokio::runtime::Handle;

/// The largest answer; a receiver sends a few bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The time between two warnings of a process.
const WARNING_PAUSE: Duration = Duration::from_secs(10 * 60);

/// The time of the last warning, shared by all signals.
#[derive(Clone, Debug, Default)]
pub(super) struct Warnings(Arc<Mutex<Option<Instant>>>);

/// The way to the receiver of one signal.
#[derive(Debug)]
pub(super) struct Transport {
    signal: &'static str,
    client: reqwest::Client,
    time: Duration,
    /// The SDK sends from threads without a runtime.
    runtime: Handle,
    failing: Arc<AtomicBool>,
    warnings: Warnings,
}

impl Warnings {
    /// Whether a warning may be written now; then no other one may for a while.
    fn may_warn(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| now.duration_since(last) >= WARNING_PAUSE);
        if may {
            *last = Some(now);
        }
        may
    }
}

impl Transport {
    /// The transport, and the flag that tells whether its last batch failed.
    pub(super) fn new(
        signal: &'static str,
        time: Duration,
        runtime: Handle,
        warnings: Warnings,
    ) -> (Self, Arc<AtomicBool>) {
        // Cannot fail without TLS.
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        let client = client.timeout(time).build().unwrap_or_default();
        let failing = Arc::<AtomicBool>::default();
        let flag = failing.clone();
        (Self { signal, client, time, runtime, failing, warnings }, flag)
    }

    /// Remembers how a batch ended, and warns about a failure.
    fn end(&self, address: &str, failure: Option<String>) {
        self.failing.store(failure.is_some(), Ordering::Relaxed);
        if let Some(cause) = failure
            && self.warnings.may_warn(Instant::now())
        {
            let Self { signal, .. } = self;
            tracing::warn!(
                "failed to export {signal} to {address}: {cause}; this warning is not repeated \
                 within ten minutes"
            );
        }
    }

    fn cause(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {:?}", self.time);
        }
        let causes = successors(error.source(), |&cause| cause.source());
        causes.last().map_or_else(|| error.to_string(), ToString::to_string)
    }
}

#[async_trait::async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri();
        // Without the user and password that may be before the host.
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let address = format!("http://{host}{}", uri.path());
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        let answer = self.runtime.spawn(async move { answer(&client, request).await }).await?;
        match &answer {
            Ok(response) if response.status().is_success() => self.end(&address, None),
            Ok(response) => self.end(&address, Some(format!("answer {}", response.status()))),
            Err(error) => self.end(&address, Some(self.cause(error))),
        }
        Ok(answer?)
    }
}

async fn answer(
    client: &reqwest::Client,
    request: reqwest::Request,
) -> Result<Response<Bytes>, reqwest::Error> {
    let mut received = client.execute(request).await?;
    let mut body = Vec::new();
    while let Some(chunk) = received.chunk().await? {
        // The SDK ignores a body that it cannot read.
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = received.status();
    *response.headers_mut() = std::mem::take(received.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_one_warning_for_a_while() {
        let (now, warnings) = (Instant::now(), Warnings::default());
        assert!(warnings.may_warn(now));
        assert!(!warnings.clone().may_warn(now + WARNING_PAUSE / 2));
        assert!(warnings.may_warn(now + WARNING_PAUSE));
        assert!(!warnings.may_warn(now + WARNING_PAUSE));
    }
}
