//! Hashes and compares passwords with Argon2id, which takes 19 MiB of memory and a moment.
//!
//! Only a few run at a time, so that attempts to sign in leave memory and processors to others.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use kit::Problem;
use kit::auth::random_secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// Concurrent computations.
const PARALLEL: usize = 2;

/// How long a computation waits for the ones before.
const QUEUE_TIME: Duration = Duration::from_secs(3);

/// Compared with when there is no account, so that the time of an answer does not tell which
/// usernames exist. No password has this hash.
const NO_ACCOUNT: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm8tYWNjb3VudC1oZXJl$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Computes hashes.
#[derive(Clone, Debug)]
pub struct Passwords {
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PARALLEL)) }
    }
}

impl Passwords {
    /// The hash of a password with a new salt.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        let salt = random_secret()?;
        self.compute(move || {
            let hash = Argon2::default()
                .hash_password_with_salt(password.as_bytes(), &salt.as_bytes()[..32]);
            Ok(hash.map_err(internal)?.to_string())
        })
        .await
    }

    /// Whether the password has this hash; always false without one.
    pub async fn matches(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        self.compute(move || {
            let known = hash.as_deref().unwrap_or(NO_ACCOUNT);
            let verified = Argon2::default().verify_password(password.as_bytes(), known);
            Ok(verified.is_ok() && hash.is_some())
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.place().await?;
        let work = move || {
            let result = work();
            // Also held when the caller has left: the computation is not interrupted.
            drop(place);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(internal)?
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        match tokio::time::timeout(QUEUE_TIME, self.places.clone().acquire_owned()).await {
            Ok(place) => place.map_err(internal),
            Err(_) => {
                let detail = "too many passwords are being compared";
                Err(Problem::unavailable(detail, QUEUE_TIME).into())
            }
        }
    }
}

fn internal(error: impl std::fmt::Display) -> Error {
    tracing::error!(%error, "failed to compute a password's hash");
    Problem::internal().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_same_password_matches() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        let again = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && hash != again, "{hash}");
        for (password, expected) in [("correct horse", true), ("Correct horse", false)] {
            let matches = passwords.matches(password.to_owned(), Some(hash.clone())).await;
            assert_eq!(matches.unwrap(), expected, "{password}");
        }
        assert!(!passwords.matches("x".to_owned(), None).await.unwrap());
    }

    #[test]
    fn hash_without_an_account_is_well_formed() {
        // A malformed one would be refused at once.
        let hash = argon2::password_hash::phc::PasswordHash::new(NO_ACCOUNT);
        assert!(hash.is_ok_and(|hash| hash.hash.is_some() && hash.salt.is_some()));
    }
}
