//! Who calls: short-lived signed tokens, and the callers that they name.
//!
//! `users` issues a token for a session, and every service verifies it without asking `users`. A
//! token is a JWT with one fixed header (HS256), so no caller chooses the algorithm. All services
//! share the key; it comes from `SIGNING_KEY`, or from the file that `SIGNING_KEY_FILE` names.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::callers::Callers;
use crate::openapi::{Operation, Reads};
use crate::problem::Problem;
use crate::settings::{SettingError, Settings};

/// `{"alg":"HS256","typ":"JWT"}` in base64.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// The shortest key, in characters.
const MIN_KEY_CHARS: usize = 32;

/// The longest token that is verified.
const MAX_TOKEN_BYTES: usize = 4096;

/// Issues and verifies tokens.
#[derive(Clone)]
pub struct Tokens {
    mac: Arc<Hmac<Sha256>>,
}

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    sub: std::borrow::Cow<'a, str>,
    /// Seconds since 1970.
    exp: u64,
}

/// The caller of a request, an extractor. It answers 401 to a token that is not valid, and to a
/// request without a token unless `OPEN_OWNERS` is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The person with this username, named by a valid token.
    Person(String),
    /// A caller without a token, who may use what belongs to no account.
    Open,
}

/// The secret in `Authorization: Bearer SECRET`, an extractor. It answers 401 without one.
pub struct Bearer(pub String);

impl Tokens {
    /// Reads the key. Without one the service uses a key of its own, so that it starts by hand: it
    /// then accepts no token of another service.
    ///
    /// # Errors
    /// When the key is shorter than 32 characters, or its file cannot be read.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let expected = "a secret of at least 32 characters, the same for all services";
        let Some(key) = settings.text("SIGNING_KEY")? else {
            tracing::warn!("`SIGNING_KEY` is not set: tokens of other services are refused");
            let own = random_secret();
            return own.map(|key| Self::new(&key)).map_err(|_| {
                SettingError::bad("SIGNING_KEY", "unset, and there is no random one", expected)
            });
        };
        if key.chars().count() < MIN_KEY_CHARS {
            return Err(SettingError::bad("SIGNING_KEY", "shorter", expected));
        }
        Ok(Self::new(&key))
    }

    /// Tokens that are signed with this key.
    pub fn new(key: &str) -> Self {
        // Other uses of the same secret must not produce tokens.
        let derived = Sha256::digest(format!("token v1\0{key}"));
        let mac = Hmac::<Sha256>::new_from_slice(&derived).ok();
        Self { mac: Arc::new(mac.unwrap_or_else(|| unreachable!("HMAC takes keys of any length"))) }
    }

    /// A token for a person that is valid for `lifetime`.
    pub fn issue(&self, username: &str, lifetime: Duration) -> String {
        let claims = Claims { sub: username.into(), exp: now() + lifetime.as_secs() };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut mac = (*self.mac).clone();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// The username in a token; `None` when it was not issued with this key, or has expired.
    pub fn verify(&self, token: &str) -> Option<String> {
        let (signed, signature) = token.rsplit_once('.')?;
        let claims = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let mut mac = (*self.mac).clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let claims: Claims<'_> = serde_json::from_slice(&claims).ok()?;
        (claims.exp > now()).then(|| claims.sub.into_owned())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tokens")
    }
}

impl Caller {
    /// Whether the caller is the person with this username; false for an open caller.
    ///
    /// # Errors
    /// 403 when the caller is another person.
    pub fn is(&self, username: &str) -> Result<bool, Problem> {
        match self {
            Self::Person(person) if person == username => Ok(true),
            Self::Person(_) => {
                Err(Problem::new(StatusCode::FORBIDDEN, "the token belongs to another person"))
            }
            Self::Open => Ok(false),
        }
    }

    /// The username; empty for an open caller.
    pub fn name(&self) -> &str {
        match self {
            Self::Person(person) => person,
            Self::Open => "",
        }
    }

    fn of(parts: &Parts) -> Result<Self, Problem> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            let open = parts.extensions.get::<Callers>().is_some_and(Callers::open_owners);
            let refused = || unauthorized("this needs a token; `OPEN_OWNERS=true` waives it");
            return if open { Ok(Self::Open) } else { Err(refused()) };
        }
        let tokens = parts.extensions.get::<Tokens>();
        let person = tokens.zip(bearer(&parts.headers)).and_then(|(t, token)| t.verify(token));
        person.map(Self::Person).ok_or_else(|| unauthorized("the token is invalid or has expired"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}

impl Reads for Caller {
    fn describe(operation: &mut Operation) {
        operation.demands("token", true);
    }
}

impl Reads for Bearer {
    fn describe(operation: &mut Operation) {
        operation.demands("session", false);
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let secret = bearer(&parts.headers).map(|secret| Self(secret.to_owned()));
        secret.ok_or_else(|| unauthorized("this needs `Authorization: Bearer` with a session"))
    }
}

/// A problem of status 401.
pub fn unauthorized(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// A random secret of 256 bits as hexadecimal digits.
///
/// # Errors
/// When the system has no random numbers.
pub fn random_secret() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system returned no random numbers");
        Problem::internal()
    })?;
    Ok(hex(&bytes))
}

/// A digest of a secret, for storing and comparing it. `purpose` separates the uses of a secret.
pub fn digest(purpose: &str, secret: &str) -> String {
    hex(&Sha256::digest(format!("{purpose}\0{secret}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then_some(secret)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn token_names_its_person_until_it_expires() {
        let tokens = Tokens::new(KEY);
        let token = tokens.issue("ann \u{fc}\"", MINUTE);
        assert_eq!(tokens.verify(&token).as_deref(), Some("ann \u{fc}\""));
        assert_eq!(tokens.verify(&tokens.issue("ann", Duration::ZERO)), None);
    }

    #[test]
    fn changed_or_foreign_token_is_refused() {
        let tokens = Tokens::new(KEY);
        let token = tokens.issue("ann", MINUTE);
        assert_eq!(Tokens::new("another key").verify(&token), None);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let claims = URL_SAFE_NO_PAD.encode("{\"sub\":\"bob\",\"exp\":99999999999}");
        let none = URL_SAFE_NO_PAD.encode("{\"alg\":\"none\",\"typ\":\"JWT\"}");
        for wrong in [
            String::new(),
            "..".to_owned(),
            format!("{signed}."),
            format!("{HEADER}.{claims}.{signature}"),
            format!("{none}.{claims}."),
            format!("{token}x"),
            "x".repeat(MAX_TOKEN_BYTES + 1),
        ] {
            assert_eq!(tokens.verify(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn short_key_is_an_error() {
        let settings = Settings::from_pairs([("SIGNING_KEY", "abc")]);
        let error = Tokens::from_settings(&settings).unwrap_err().to_string();
        assert!(error.contains("at least 32") && !error.contains("abc"), "{error}");
    }

    #[test]
    fn service_without_a_key_accepts_no_token_of_another() {
        let unset = || Tokens::from_settings(&Settings::from_pairs([("SIGNING_KEY", "")])).unwrap();
        let (one, other) = (unset(), unset());
        let token = one.issue("ann", MINUTE);
        assert_eq!(one.verify(&token).as_deref(), Some("ann"));
        assert_eq!(other.verify(&token), None);
    }

    #[test]
    fn secrets_differ_and_digests_depend_on_the_purpose() {
        let (one, other) = (random_secret().unwrap(), random_secret().unwrap());
        assert!(one != other && one.len() == 64);
        assert_ne!(digest("a", &one), digest("b", &one));
        assert_eq!(digest("a", &one), digest("a", &one));
    }
}
