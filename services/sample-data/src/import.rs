//! Imports the sample through the two services. It only creates, so it is safe to repeat.
//!
//! One request creates a list together with its items, so a list is never half imported.

use std::fmt;
use std::time::Duration;

use kit::client::CallError;
use kit::settings::SettingError;
use kit::{Client, RequestContext, Settings};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::sample::{Person, Sample};

/// How long a call to an unavailable service is retried.
const RETRY_TIME: Duration = Duration::from_secs(10);

/// The clients of the import.
pub(crate) struct Importer {
    users: Client,
    todo: Client,
    context: RequestContext,
}

/// The result of an import.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    users: Count,
    lists: Count,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    created: u32,
    existing: u32,
}

/// Why an import failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// A service did not answer in time.
    #[error("failed to create {what}: the service did not answer")]
    NoAnswer { what: String, source: CallError },
    /// A service answered with an unexpected status.
    #[error(
        "failed to create {what}: the service answered `{status}`, expected 201 or 409: {body}"
    )]
    Refused { what: String, status: StatusCode, body: String },
    /// Another person has the id.
    #[error("failed to create {what}: the id {id} belongs to another user")]
    IdTaken { what: String, id: i64 },
}

/// The answer to a request that creates.
#[derive(PartialEq, Eq)]
enum Created {
    /// 201: this request created it.
    Now,
    /// 409: it existed before.
    Before,
}

impl Importer {
    /// An importer for the services at `USERS_URL` and `TODO_URL`.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let users = Client::from_settings("USERS_URL", settings)?;
        let todo = Client::from_settings("TODO_URL", settings)?;
        Ok(Self { users, todo, context: RequestContext::start() })
    }

    /// Imports everything that is missing.
    pub(crate) async fn import(&self, sample: &Sample) -> Result<Counts, ImportError> {
        let mut counts = Counts::default();
        for (username, person) in &sample.users {
            counts.users.count(&self.create_user(username, person).await?);
        }
        for (username, lists) in &sample.lists {
            for (name, titles) in &lists.0 {
                let what = format!("the list `{name}` of `{username}`");
                let body = json!({"name": name, "items": titles});
                let created = self.create(&self.todo, &["lists", username], &body, what).await?;
                counts.lists.count(&created);
            }
        }
        Ok(counts)
    }

    async fn create_user(&self, username: &str, person: &Person) -> Result<Created, ImportError> {
        let what = format!("the user `{username}`");
        let body = json!({
            "username": username,
            "id": person.id,
            "name": person.name,
            "verified": person.verified,
        });
        let created = self.create(&self.users, &["users"], &body, what.clone()).await?;
        if created == Created::Before {
            let path = ["users", username];
            let found = retry(|| self.users.get(&path, &self.context)).await;
            let found =
                found.map_err(|source| ImportError::NoAnswer { what: what.clone(), source })?;
            match found.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Err(ImportError::IdTaken { what, id: person.id }),
                _ => return Err(refusal(found, what).await),
            }
        }
        Ok(created)
    }

    /// Creates something. Repeating is safe: the service rejects a second one with 409.
    async fn create(
        &self,
        client: &Client,
        path: &[&str],
        body: &Value,
        what: String,
    ) -> Result<Created, ImportError> {
        match retry(|| client.post(path, &self.context, body)).await {
            Ok(response) if response.status() == StatusCode::CREATED => Ok(Created::Now),
            Ok(response) if response.status() == StatusCode::CONFLICT => Ok(Created::Before),
            Ok(response) => Err(refusal(response, what).await),
            Err(source) => Err(ImportError::NoAnswer { what, source }),
        }
    }
}

/// Retries a call until the service is available.
async fn retry<F>(mut call: impl FnMut() -> F) -> Result<Response, CallError>
where
    F: Future<Output = Result<Response, CallError>>,
{
    let deadline = Instant::now() + RETRY_TIME;
    let mut pause = Duration::from_millis(50);
    loop {
        let answer = call().await;
        let unavailable = match &answer {
            Ok(response) => response.status() == StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => true,
        };
        if !unavailable || Instant::now() + pause >= deadline {
            return answer;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn refusal(response: Response, what: String) -> ImportError {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    ImportError::Refused { what, status, body }
}

impl Count {
    fn count(&mut self, created: &Created) {
        match created {
            Created::Now => self.created += 1,
            Created::Before => self.existing += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "imported {} users and {} lists; {} users and {} lists existed before",
            self.users.created, self.lists.created, self.users.existing, self.lists.existing
        )
    }
}
