//! Calls to another service that fail fast while it is away.
//!
//! A GET is retried with growing random pauses. A request that changes something is sent once.
//! After a few failures in a row the circuit opens: calls fail at once, and one call after each
//! pause finds out whether the service is back.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kit::{Client, RequestContext};
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

/// Failures in a row that open the circuit.
const FAILURES: u32 = 3;

/// The time between two calls while the circuit is open.
const OPEN_TIME: Duration = Duration::from_secs(1);

/// A client of one service, shared by all requests.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: Client,
    circuit: Arc<Mutex<Circuit>>,
}

/// The service does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the service is away")]
pub(crate) struct Away;

#[derive(Debug, Default)]
struct Circuit {
    failures: u32,
    /// When the last call was allowed while open.
    tried: Option<Instant>,
}

impl Upstream {
    /// Calls the service through `client`.
    pub fn new(client: Client) -> Self {
        Self { client, circuit: Arc::default() }
    }

    /// Sends a GET, and repeats it if it soon gets no answer or a 503.
    pub(crate) async fn get(
        &self,
        path: &[&str],
        context: &RequestContext,
    ) -> Result<Response, Away> {
        let (mut attempt, begin) = (0, Instant::now());
        loop {
            let is_early = || begin.elapsed() < RETRY_TIME && self.is_closed();
            match self.once(Method::GET, path, context, None).await {
                Err(Away) if attempt < RETRIES && is_early() => {
                    sleep(jitter(RETRY_PAUSE * 2_u32.pow(attempt))).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Sends a request once. No answer means that it is unknown whether it took effect.
    pub(crate) async fn once(
        &self,
        method: Method,
        path: &[&str],
        context: &RequestContext,
        body: Option<&Value>,
    ) -> Result<Response, Away> {
        if !self.circuit().allows(Instant::now()) {
            return Err(Away);
        }
        let result = self.client.send(method, path, context, body).await;
        let answer = match result {
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => Err(Away),
            Ok(response) => Ok(response),
            Err(error) => {
                tracing::warn!(%error, ?path, "a service does not answer");
                Err(Away)
            }
        };
        self.circuit().record(answer.is_ok());
        answer
    }

    fn is_closed(&self) -> bool {
        self.circuit().failures < FAILURES
    }

    fn circuit(&self) -> std::sync::MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Circuit {
    fn allows(&mut self, now: Instant) -> bool {
        if self.failures < FAILURES {
            return true;
        }
        let due = self.tried.is_none_or(|tried| now.duration_since(tried) >= OPEN_TIME);
        if due {
            self.tried = Some(now);
        }
        due
    }

    fn record(&mut self, answered: bool) {
        if answered {
            *self = Self::default();
        } else {
            self.failures = self.failures.saturating_add(1);
            if self.failures == FAILURES {
                self.tried = Some(Instant::now());
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
    fn circuit_opens_and_tries_once_a_second() {
        let mut circuit = Circuit::default();
        for _ in 0..FAILURES {
            assert!(circuit.allows(Instant::now()));
            circuit.record(false);
        }
        let now = circuit.tried.unwrap();
        assert!(!circuit.allows(now));
        let later = now + OPEN_TIME;
        assert!(circuit.allows(later));
        assert!(!circuit.allows(later), "one call at a time");
        circuit.record(true);
        assert!(circuit.allows(later));
    }

    #[test]
    fn pauses_are_bounded() {
        for _ in 0..100 {
            let pause = jitter(Duration::from_millis(100));
            assert!((50..=100).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}
