//! Calls to another service for a page: a GET is retried with growing random pauses, and a request
//! that changes something is sent once.
//!
//! The client of `kit` fails at once while the service is away.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, Instant};

use kit::client::CallError;
use kit::{Client, RequestContext};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

/// Further attempts of a GET.
const RETRIES: u32 = 2;

/// The pause before the first further attempt; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(60);

/// Only failures within this time are worth another attempt: after a timeout a person has waited
/// long enough.
const RETRY_TIME: Duration = Duration::from_secs(1);

/// In a request, the event behind which a stream begins. `todo` also sends it with lists.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A client of one service, shared by all requests.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: Client,
}

/// The service does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the service is away")]
pub(crate) struct Away;

impl Upstream {
    /// Calls the service through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Sends a GET, and repeats it if it soon gets no answer or a 503.
    pub(crate) async fn get(
        &self,
        path: &[&str],
        context: &RequestContext,
    ) -> Result<Response, Away> {
        let (mut attempt, begin) = (0, Instant::now());
        loop {
            let is_early = || begin.elapsed() < RETRY_TIME && !self.client.is_open();
            match self.once(Method::GET, path, context, None).await {
                Err(Away) if attempt < RETRIES && is_early() => {
                    sleep(jitter(RETRY_PAUSE * 2_u32.pow(attempt))).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Begins a stream of events behind the one with the id `last`.
    pub(crate) async fn events(
        &self,
        path: &[&str],
        context: &RequestContext,
        last: Option<&HeaderValue>,
    ) -> Result<Response, Away> {
        let last = last.map(|last| (LAST_EVENT_ID, last.clone()));
        let headers = last.into_iter().collect();
        self.answered(path, self.client.stream(path, context, headers).await)
    }

    /// Sends a request once. No answer means that it is unknown whether it took effect.
    pub(crate) async fn once(
        &self,
        method: Method,
        path: &[&str],
        context: &RequestContext,
        body: Option<&Value>,
    ) -> Result<Response, Away> {
        self.answered(path, self.client.send(method, path, context, body).await)
    }

    fn answered(
        &self,
        path: &[&str],
        answer: Result<Response, CallError>,
    ) -> Result<Response, Away> {
        match answer {
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => Err(Away),
            Ok(response) => Ok(response),
            Err(error) => {
                tracing::warn!(%error, ?path, "a service does not answer");
                Err(Away)
            }
        }
    }
}

/// A random time from half of `pause` to all of it, so that callers do not retry in step.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() as u32;
    pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_bounded() {
        for _ in 0..100 {
            let pause = jitter(Duration::from_millis(100));
            assert!((50..=100).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}
