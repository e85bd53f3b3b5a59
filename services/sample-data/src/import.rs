//! Imports the sample through the two services: only creating, so that it can be repeated.
//!
//! A list is created together with its items in one request: it is there whole or not at all.

use std::fmt;
use std::time::Duration;

use kit::{Client, RequestContext};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::sample::{Person, Sample};

/// How long a service that is away is asked again before the import is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Imports into these two services.
pub(crate) struct Importer {
    users: Client,
    todo: Client,
    context: RequestContext,
}

/// What an import did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    users: Done,
    lists: Done,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    created: u32,
    there: u32,
}

/// Why an import was not finished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// A service did not answer in time.
    #[error("creating {what}: the service gave no answer")]
    Away { what: String, source: reqwest::Error },
    /// A service answered neither that it is created nor that it is there.
    #[error("creating {what}: the service answered `{status}`, expected 201 or 409: {body}")]
    Refused { what: String, status: StatusCode, body: String },
    /// The id of a person of the sample belongs to somebody else.
    #[error("creating {what}: the id {id} belongs to another user")]
    IdTaken { what: String, id: i64 },
}

/// What a create-only request came to.
#[derive(PartialEq, Eq)]
enum Created {
    Now,
    Before,
}

impl Importer {
    pub(crate) fn new(users: Client, todo: Client) -> Self {
        Self { users, todo, context: RequestContext::start() }
    }

    /// Imports everything that is not there yet.
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
            let found = ask_until_there(|| self.users.get(&path, &self.context)).await;
            let found = found.map_err(|source| ImportError::Away { what: what.clone(), source })?;
            match found.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Err(ImportError::IdTaken { what, id: person.id }),
                _ => return Err(refusal(found, what).await),
            }
        }
        Ok(created)
    }

    /// Makes what is not there; repeating is harmless, since what is there is not made twice.
    async fn create(
        &self,
        client: &Client,
        path: &[&str],
        body: &Value,
        what: String,
    ) -> Result<Created, ImportError> {
        judge(ask_until_there(|| client.post(path, &self.context, body)).await, what).await
    }
}

/// Asks until the service is there to answer.
async fn ask_until_there<F>(mut ask: impl FnMut() -> F) -> Result<Response, reqwest::Error>
where
    F: Future<Output = Result<Response, reqwest::Error>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(50);
    loop {
        let answer = ask().await;
        let may_come_back = match &answer {
            Ok(response) => response.status() == StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => true,
        };
        if !may_come_back || Instant::now() + pause >= deadline {
            return answer;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn judge(
    answer: Result<Response, reqwest::Error>,
    what: String,
) -> Result<Created, ImportError> {
    match answer {
        Ok(response) if response.status() == StatusCode::CREATED => Ok(Created::Now),
        Ok(response) if response.status() == StatusCode::CONFLICT => Ok(Created::Before),
        Ok(response) => Err(refusal(response, what).await),
        Err(source) => Err(ImportError::Away { what, source }),
    }
}

async fn refusal(response: Response, what: String) -> ImportError {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    ImportError::Refused { what, status, body }
}

impl Done {
    fn count(&mut self, created: &Created) {
        match created {
            Created::Now => self.created += 1,
            Created::Before => self.there += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "imported {} users and {} lists, {} users and {} lists were there",
            self.users.created, self.lists.created, self.users.there, self.lists.there
        )
    }
}
