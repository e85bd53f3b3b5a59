//! A caller of one service, and answers that explain themselves when they are not the
//! expected ones.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use xtask_client::Stack;

/// No answer of any service may take longer, also while another service is away.
const PATIENCE: Duration = Duration::from_secs(15);

/// One service, by its address.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    base: String,
}

/// The services that are a database server, where an overlay says so.
const SERVERS: [&str; 2] = ["postgres", "database"];

/// The database server of the stack; none where the services keep files of their own.
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
    /// The request, for messages.
    pub request: String,
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Api {
    /// A service of the stack.
    ///
    /// # Panics
    /// When the stack has no such service, or it has no address.
    pub async fn of(stack: &Stack, service: &str) -> Self {
        let url = stack.service(service).url().await;
        Self::new(&url.unwrap_or_else(|error| panic!("the address of `{service}`: {error}")))
    }

    /// The service at `base`, such as `http://127.0.0.1:5001`.
    ///
    /// # Panics
    /// When there can be no client at all.
    #[must_use]
    pub fn new(base: &str) -> Self {
        // A connection that stays open would be cut when a service is restarted; a fresh one
        // waits in the socket's queue instead.
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .expect("a client without TLS has nothing that could be missing");
        Self { client, base: base.trim_end_matches('/').to_owned() }
    }

    /// The absolute URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    /// A request that is not sent yet; `path` begins with `/`, or is a whole URL.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, self.url(path))
    }

    /// Sends a request of any kind.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// As [`Api::send`], where no answer is an outcome too.
    ///
    /// # Errors
    /// When the connection or the answer fails, or takes too long.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let request = request.build()?;
        let shown = format!("{} {}", request.method(), request.url());
        let response = self.client.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { request: shown, status, headers, text: response.text().await? })
    }

    /// Reads a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// Posts a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    /// Sends the fields to change.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("PATCH", path).json(body)).await
    }

    /// Removes what is at a path.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }
}

impl Answer {
    /// Asserts the status.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} answered {}", self.request, self.text);
        self
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON, or not said to be.
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
    /// When it is anything else.
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

    /// A header field's value; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The names of the fields that a problem body complains about.
    ///
    /// # Panics
    /// When it is no such problem.
    #[track_caller]
    pub fn wrong_fields(self) -> Vec<String> {
        let body = self.problem(422);
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|e| e["field"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
