//! The cookie that names a session, and the proof that a form comes from our own page.
//!
//! Only the browser and `web` know the cookie's value. A form contains a digest of it, which no
//! other page can know. Visitors who are not signed in have a random value instead of a session.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use kit::auth::{digest, random_secret};

use crate::error::Error;
use crate::http::App;

const SESSION: &str = "session";
const VISIT: &str = "visit";

/// The cookies of a request.
#[derive(Clone, Debug)]
pub(crate) struct Cookies {
    /// The secret of the session.
    pub(crate) session: Option<String>,
    /// A random value for forms without a session, and whether the browser has it already.
    visit: (String, bool),
    secure: bool,
}

impl FromRequestParts<App> for Cookies {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Self::new(&parts.headers, app.secure)
    }
}

impl Cookies {
    /// The cookies in these headers.
    pub(crate) fn new(headers: &HeaderMap, secure: bool) -> Result<Self, Error> {
        let read = |name| find(headers, &full_name(name, secure)).map(str::to_owned);
        let visit = match read(VISIT) {
            Some(value) => (value, true),
            None => (random_secret()?, false),
        };
        Ok(Self { session: read(SESSION), visit, secure })
    }

    /// The proof for forms.
    pub(crate) fn proof(&self) -> String {
        digest("form", self.session.as_deref().unwrap_or(&self.visit.0))
    }

    /// The `Set-Cookie` header for a visitor who has none yet.
    pub(crate) fn greeting(&self) -> Option<String> {
        let is_new = self.session.is_none() && !self.visit.1;
        is_new.then(|| self.header(VISIT, &self.visit.0, None))
    }

    /// The `Set-Cookie` header that starts a session.
    pub(crate) fn started(&self, session: &str, seconds: u64) -> String {
        self.header(SESSION, session, Some(seconds))
    }

    /// The `Set-Cookie` header that removes the session.
    pub(crate) fn ended(&self) -> String {
        self.header(SESSION, "", Some(0))
    }

    fn header(&self, name: &str, value: &str, seconds: Option<u64>) -> String {
        let name = full_name(name, self.secure);
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}")
    }
}

/// With the prefix, a browser accepts the cookie from this host over HTTPS only.
fn full_name(name: &str, secure: bool) -> String {
    if secure { format!("__Host-{name}") } else { name.to_owned() }
}

fn find<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, value)| *name == wanted && !value.is_empty()).map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(line: &str, secure: bool) -> Cookies {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, line.parse().unwrap());
        Cookies::new(&headers, secure).unwrap()
    }

    #[test]
    fn proof_belongs_to_session_or_visit() {
        let visitor = cookies("visit=abc", false);
        assert_eq!(visitor.proof(), cookies("visit=abc; x=y", false).proof());
        assert_eq!(visitor.greeting(), None);
        let person = cookies("visit=abc; session=s1", false);
        assert_eq!(person.session.as_deref(), Some("s1"));
        assert_ne!(person.proof(), visitor.proof());
        assert_ne!(person.proof(), cookies("session=s2", false).proof());
        let stranger = cookies("session=", false);
        assert!(stranger.greeting().is_some() && stranger.session.is_none());
    }

    #[test]
    fn flags_depend_on_https() {
        let cookie = cookies("x=y", false).started("s", 60);
        assert_eq!(cookie, "session=s; Path=/; HttpOnly; SameSite=Lax; Max-Age=60");
        let cookie = cookies("x=y", true).started("s", 60);
        assert_eq!(cookie, "__Host-session=s; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure");
        assert_eq!(cookies("session=s", true).session, None);
        assert!(cookies("session=s", false).ended().contains("Max-Age=0"));
    }
}
