//! What the page reads and writes: typed calls to `users` and `todo`.
//!
//! Nothing is stored here. Tokens are kept for less than their lifetime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kit::auth::digest;
use kit::problem::FieldError;
use kit::settings::SettingError;
use kit::{Client, RequestContext, Settings};
use reqwest::header::HeaderValue;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::Error;
use crate::upstream::{Away, LAST_EVENT_ID, Upstream};

/// A token is not used in its last seconds, because a call may take some.
const TOKEN_RESERVE: Duration = Duration::from_secs(30);

/// Tokens that are kept; with more people, some tokens are requested more often.
const MAX_TOKENS: usize = 10_000;

/// The two services behind the page.
#[derive(Clone, Debug)]
pub struct Store {
    users: Upstream,
    todo: Upstream,
    /// By the secret of the session.
    people: Arc<Mutex<HashMap<String, (Person, Instant)>>>,
}

/// The person who is signed in.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Person {
    pub(crate) username: String,
    pub(crate) name: String,
    token: String,
    expires_in: u64,
}

/// A new session.
#[derive(Debug, Deserialize)]
pub(crate) struct NewSession {
    pub(crate) session: String,
    pub(crate) expires_in: u64,
}

/// The lists of a person.
#[derive(Debug)]
pub(crate) struct Lists {
    /// In order of creation.
    pub(crate) summaries: Vec<Summary>,
    /// The id of the event behind which changes are not part of `summaries`.
    pub(crate) last_event: Option<String>,
}

/// A list in the overview.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) items: usize,
    pub(crate) open: usize,
}

/// An item of a list.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) completed: bool,
    pub(crate) due: Option<String>,
}

/// The members of a problem that the page shows.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    errors: Vec<FieldError>,
}

impl Store {
    /// Calls `users` and `todo` at the addresses in the settings.
    ///
    /// # Errors
    /// When an address or a timeout is missing or invalid.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let client = |name| Ok(Upstream::new(Client::from_settings(name, settings)?));
        Ok(Self::new(client("USERS_URL")?, client("TODO_URL")?))
    }

    /// Calls these services.
    pub fn new(users: Upstream, todo: Upstream) -> Self {
        Self { users, todo, people: Arc::default() }
    }

    /// Starts a session of a new account or of an existing one.
    pub(crate) async fn start_session(
        &self,
        path: &'static str,
        body: &Value,
        context: &RequestContext,
    ) -> Result<NewSession, Error> {
        let answer = self.users.once(Method::POST, &[path], context, Some(body)).await;
        read(answer.map_err(|_| Error::Away("Signing in"))?).await
    }

    /// Ends a session.
    pub(crate) async fn sign_out(
        &self,
        session: &str,
        context: &RequestContext,
    ) -> Result<(), Error> {
        self.people().remove(session);
        let context = context.clone().with_bearer(session);
        let answer = self.users.once(Method::DELETE, &["session"], &context, None).await;
        done(answer.map_err(|_| Error::Away("Signing out"))?).await
    }

    /// The person of a session.
    ///
    /// # Errors
    /// [`Error::SignedOut`] when the session has ended.
    pub(crate) async fn person(
        &self,
        session: &str,
        context: &RequestContext,
    ) -> Result<Person, Error> {
        let now = Instant::now();
        if let Some((person, _)) = self.people().get(session).filter(|(_, until)| *until > now) {
            return Ok(person.clone());
        }
        let context = context.clone().with_bearer(session);
        let answer = self.users.get(&["session"], &context).await;
        let answer = answer.map_err(|_| Error::Away("Your account"))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(Error::SignedOut);
        }
        let person: Person = read(answer).await?;
        let lifetime = Duration::from_secs(person.expires_in).saturating_sub(TOKEN_RESERVE);
        let mut people = self.people();
        if people.len() >= MAX_TOKENS {
            people.clear();
        }
        people.insert(session.to_owned(), (person.clone(), now + lifetime));
        Ok(person)
    }

    /// The lists of a person.
    pub(crate) async fn lists(&self, of: &Owner<'_>) -> Result<Lists, Error> {
        let path = ["summaries", &of.person.username];
        let answer = self.valid(self.todo.get(&path, &of.context).await)?;
        let last_event = answer.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        let last_event = last_event.map(str::to_owned);
        Ok(Lists { last_event, summaries: read(answer).await? })
    }

    /// The items of a list in order.
    pub(crate) async fn items(&self, of: &Owner<'_>, list: &str) -> Result<Vec<Item>, Error> {
        of.get(self, &["lists", &of.person.username, list, "items"]).await
    }

    /// One item of a list.
    pub(crate) async fn item(&self, of: &Owner<'_>, list: &str, id: &str) -> Result<Item, Error> {
        of.get(self, &["lists", &of.person.username, list, "items", id]).await
    }

    /// A stream of events, one for each change of the person's lists behind the event `last`.
    pub(crate) async fn follow(
        &self,
        of: &Owner<'_>,
        last: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        let path = ["events", &of.person.username];
        let answer = self.todo.events(&path, &of.context, last).await;
        refused(self.valid(answer)?).await
    }

    /// Adds a list. A repetition with the same key adds nothing.
    pub(crate) async fn create_list(
        &self,
        of: &Owner<'_>,
        name: &str,
        key: &str,
    ) -> Result<(), Error> {
        let path = ["lists", &of.person.username];
        of.create(self, &path, json!({"name": name}), key).await
    }

    /// Renames a list.
    pub(crate) async fn rename_list(
        &self,
        of: &Owner<'_>,
        list: &str,
        name: &str,
    ) -> Result<(), Error> {
        let path = ["lists", &of.person.username, list];
        of.change(self, Method::PATCH, &path, Some(json!({"name": name}))).await
    }

    /// Removes a list with its items.
    pub(crate) async fn delete_list(&self, of: &Owner<'_>, list: &str) -> Result<(), Error> {
        let path = ["lists", &of.person.username, list];
        of.change(self, Method::DELETE, &path, None).await
    }

    /// Adds an item. A repetition with the same key adds nothing.
    pub(crate) async fn create_item(
        &self,
        of: &Owner<'_>,
        list: &str,
        item: Value,
        key: &str,
    ) -> Result<(), Error> {
        let path = ["lists", &of.person.username, list, "items"];
        of.create(self, &path, item, key).await
    }

    /// Changes an item.
    pub(crate) async fn change_item(
        &self,
        of: &Owner<'_>,
        list: &str,
        id: &str,
        change: Value,
    ) -> Result<(), Error> {
        let path = ["lists", &of.person.username, list, "items", id];
        of.change(self, Method::PATCH, &path, Some(change)).await
    }

    /// Removes an item.
    pub(crate) async fn delete_item(
        &self,
        of: &Owner<'_>,
        list: &str,
        id: &str,
    ) -> Result<(), Error> {
        let path = ["lists", &of.person.username, list, "items", id];
        of.change(self, Method::DELETE, &path, None).await
    }

    /// An answer of `todo`. It refuses a token after the key has changed: then new ones are needed.
    fn valid(&self, answer: Result<Response, Away>) -> Result<Response, Error> {
        let away = || Error::Away("Your lists");
        let answer = answer.map_err(|_| away())?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.people().clear();
            return Err(away());
        }
        Ok(answer)
    }

    fn people(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Person, Instant)>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A person, and the request that is made for the person.
pub(crate) struct Owner<'a> {
    pub(crate) person: &'a Person,
    context: RequestContext,
}

impl<'a> Owner<'a> {
    pub(crate) fn new(person: &'a Person, context: &RequestContext) -> Self {
        Self { person, context: context.clone().with_bearer(&person.token) }
    }

    async fn get<T: DeserializeOwned>(&self, store: &Store, path: &[&str]) -> Result<T, Error> {
        let answer = store.todo.get(path, &self.context).await;
        read(store.valid(answer)?).await
    }

    async fn create(
        &self,
        store: &Store,
        path: &[&str],
        body: Value,
        key: &str,
    ) -> Result<(), Error> {
        // As a digest, any key of a form is valid in a header.
        let context = self.context.clone().with_idempotency_key(&digest("key", key));
        let answer = store.todo.once(Method::POST, path, &context, Some(&body)).await;
        done(store.valid(answer)?).await
    }

    async fn change(
        &self,
        store: &Store,
        method: Method,
        path: &[&str],
        body: Option<Value>,
    ) -> Result<(), Error> {
        let answer = store.todo.once(method, path, &self.context, body.as_ref()).await;
        done(store.valid(answer)?).await
    }
}

/// The body of a successful answer.
async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, Error> {
    let answer = refused(answer).await?;
    answer.json().await.map_err(|error| {
        tracing::error!(%error, "a service answered with an unexpected body");
        Error::Failed
    })
}

async fn done(answer: Response) -> Result<(), Error> {
    refused(answer).await.map(drop)
}

/// Turns an answer with an error status into the error that the page shows.
async fn refused(answer: Response) -> Result<Response, Error> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let problem = answer.json::<Problem>().await;
    let Ok(Problem { detail, errors }) = problem else { return Err(Error::Failed) };
    match status {
        StatusCode::NOT_FOUND => Err(Error::Gone),
        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::UNAUTHORIZED => {
            Err(Error::Refused(sentence(&detail, &errors)))
        }
        // Control characters take six times as much space in JSON as in a form.
        StatusCode::PAYLOAD_TOO_LARGE => Err(Error::Refused("This is too long.".to_owned())),
        StatusCode::TOO_MANY_REQUESTS => {
            Err(Error::Refused("Too many attempts. Wait a few minutes and try again.".to_owned()))
        }
        _ => {
            tracing::error!(%status, detail, "a service refused a request");
            Err(Error::Failed)
        }
    }
}

/// A problem's text as a sentence for people, without the marks of code.
fn sentence(detail: &str, errors: &[FieldError]) -> String {
    let text = match errors {
        [] => detail.to_owned(),
        errors => {
            let named: Vec<_> = errors
                .iter()
                .map(|error| format!("the {} {}", error.field, error.detail))
                .collect();
            named.join("; ")
        }
    };
    let text = text.replace('`', "\u{201c}");
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    // The second quotation mark of each pair closes it.
    let mut open = false;
    let rest: String = chars
        .map(|char| match char {
            '\u{201c}' => {
                open = !open;
                if open { '\u{201c}' } else { '\u{201d}' }
            }
            other => other,
        })
        .collect();
    format!("{first}{rest}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_become_sentences() {
        let detail = "the user `ann` already has a list `home`";
        let expected = "The user \u{201c}ann\u{201d} already has a list \u{201c}home\u{201d}.";
        assert_eq!(sentence(detail, &[]), expected);
        let errors = [FieldError::new("password", "has 3 characters, at least 8 are needed")];
        let expected = "The password has 3 characters, at least 8 are needed.";
        assert_eq!(sentence("x", &errors), expected);
    }
}
