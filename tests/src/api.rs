//! An HTTP client of one service, with assertions that show the request and the answer.
//!
//! A client of [`Api::of`] never repeats a request. A client of [`Api::retrying`] repeats those
//! that a killed service interrupted.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, Request, RequestBuilder};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use xtask_client::Stack;
use xtask_client::snapshot::Phase;

/// The timeout for every answer, also while another service is down.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The time between two checks for a new run.
const KILL_POLL: Duration = Duration::from_millis(20);

/// A client of one service.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    base: String,
    kills: Option<Kills>,
}

/// The run and phase of every service of a stack, to detect that one was killed.
#[derive(Clone, Debug)]
struct Kills {
    stack: Stack,
    runs: Vec<(u64, Phase)>,
}

/// The names of the database server in the overlays.
const SERVERS: [&str; 2] = ["postgres", "database"];

/// The name of the stack's database server; `None` if the services use SQLite.
///
/// # Panics
/// When the stack does not answer.
pub async fn database_server(stack: &Stack) -> Option<&'static str> {
    let snapshot = stack.status().await.expect("the stack answers");
    SERVERS.into_iter().find(|name| snapshot.service(name).is_some())
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Method and URL of the request, for messages.
    pub request: String,
    /// The HTTP status code.
    pub status: u16,
    /// All header fields.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Api {
    /// A client of a service of the stack.
    ///
    /// # Panics
    /// When the stack has no such service, or it has no address.
    pub async fn of(stack: &Stack, service: &str) -> Self {
        let url = stack.service(service).url().await;
        Self::new(&url.unwrap_or_else(|error| panic!("the address of `{service}`: {error}")))
    }

    /// A client that repeats an idempotent request if the connection was cut, or the answer is a
    /// 503, and a service has restarted since: for tests that run during `--kill-random`. Without a
    /// restart the failure counts. A repeated DELETE may be answered with 404.
    ///
    /// # Panics
    /// Like [`Api::of`].
    pub async fn retrying(stack: &Stack, service: &str) -> Self {
        // Before the address, so that no kill is missed.
        let kills = Kills { runs: runs(stack).await, stack: stack.clone() };
        Self { kills: Some(kills), ..Self::of(stack, service).await }
    }

    /// A client of the service at `base`, such as `http://127.0.0.1:5001`.
    ///
    /// # Panics
    /// When the client cannot be built.
    #[must_use]
    pub fn new(base: &str) -> Self {
        // A restart closes kept connections. A fresh connection waits in the socket's queue.
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .expect("a client without TLS needs no certificates");
        Self { client, base: base.trim_end_matches('/').to_owned(), kills: None }
    }

    /// The absolute URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    /// Builds a request; `path` starts with `/`, or is a URL.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, self.url(path))
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().expect("a valid request");
        let mut kills = self.kills.clone().filter(|_| request.method().is_idempotent());
        loop {
            let copy = request.try_clone().expect("a body that is not a stream");
            let result = self.execute(copy).await;
            let is_interrupted = result.as_ref().map_or(true, |answer| answer.status == 503);
            if let Some(kills) = kills.as_mut().filter(|_| is_interrupted)
                && kills.await_change().await
            {
                continue;
            }
            return result.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        }
    }

    /// Sends a request that may fail.
    ///
    /// # Errors
    /// When the connection fails, or the answer does not arrive in time.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        self.execute(request.build()?).await
    }

    async fn execute(&self, request: Request) -> Result<Answer, reqwest::Error> {
        let shown = format!("{} {}", request.method(), request.url());
        let response = self.client.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { request: shown, status, headers, text: response.text().await? })
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// Sends a POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    /// Sends a PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("PATCH", path).json(body)).await
    }

    /// Sends a DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }
}

impl Kills {
    /// Waits until a service has another run or phase than before; false after the timeout.
    async fn await_change(&mut self) -> bool {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            let runs = runs(&self.stack).await;
            if runs != self.runs {
                self.runs = runs;
                return true;
            }
            sleep(KILL_POLL).await;
        }
        false
    }
}

async fn runs(stack: &Stack) -> Vec<(u64, Phase)> {
    let snapshot = stack.status().await.expect("the stack answers");
    snapshot.services.iter().map(|service| (service.run, service.phase)).collect()
}

impl Answer {
    /// Asserts the status.
    ///
    /// # Panics
    /// When the status differs.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} answered {}", self.request, self.text);
        self
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON, or has no JSON content type.
    #[track_caller]
    pub fn json(&self) -> Value {
        let media = self.header("content-type");
        assert!(media.starts_with("application/"), "{}: content type {media:?}", self.request);
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.request, self.text))
    }

    /// Asserts a problem body (RFC 9457) of this status, and returns it.
    ///
    /// # Panics
    /// When the answer is not such a problem.
    #[track_caller]
    pub fn problem(self, status: u16) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header(CONTENT_TYPE.as_str()), "application/problem+json", "{answer:?}");
        let body = answer.json();
        assert_eq!(body["status"], status, "{body}");
        for member in ["type", "title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {body}");
        }
        body
    }

    /// The value of a header field; empty when the field is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The names of the invalid fields in a problem of status 422.
    ///
    /// # Panics
    /// When the answer is not such a problem.
    #[track_caller]
    pub fn wrong_fields(self) -> Vec<String> {
        let body = self.problem(422);
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|e| e["field"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
