//! The accounts, sessions and attempts to sign in: the SQL statements about them.
//!
//! A session is stored as a digest, so a copy of the database is no way to sign in. Passwords are
//! hashed elsewhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kit::auth::{digest, random_secret};
use sqlx::{Any, Row as _, Transaction};

use crate::bodies::{NewSession, NewUser, User};
use crate::error::Error;
use crate::store::Store;

/// How long a session lasts.
pub const SESSION_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Attempts to sign in to one account within [`ATTEMPT_TIME`].
pub const MAX_ATTEMPTS: i64 = 10;

/// Counted from the first attempt.
pub const ATTEMPT_TIME: Duration = Duration::from_secs(15 * 60);

impl Store {
    /// Adds a person with an account, and starts a session.
    ///
    /// # Errors
    /// When another person has the username, with or without an account.
    pub async fn create_account(&self, new: &NewUser, hash: String) -> Result<NewSession, Error> {
        let mut write = self.database.write().await?;
        let user = crate::store::insert(&mut write, new).await?;
        let insert = sqlx::query("INSERT INTO accounts (username, password) VALUES ($1, $2)");
        insert.bind(new.username.clone()).bind(hash).execute(&mut *write).await?;
        let session = start_session(&mut write, &new.username, user.name).await?;
        write.commit().await?;
        Ok(session)
    }

    /// The hash of the person's password; `None` without an account.
    pub async fn password(&self, username: &str) -> Result<Option<String>, Error> {
        let select = sqlx::query("SELECT password FROM accounts WHERE username = $1");
        let select = select.bind(username.to_owned());
        let row = select.fetch_optional(self.database.reader()).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Counts an attempt to sign in, before the password is compared: concurrent attempts count
    /// too.
    ///
    /// # Errors
    /// When there were too many; the error contains the time until the next one.
    pub async fn count_attempt(&self, username: &str) -> Result<(), Error> {
        let (now, limit) = (now(), ATTEMPT_TIME.as_secs() as i64);
        let mut write = self.database.write().await?;
        let old = sqlx::query("DELETE FROM attempts WHERE since <= $1").bind(now - limit);
        old.execute(&mut *write).await?;
        let row = sqlx::query(
            "INSERT INTO attempts (username, count, since) VALUES ($1, 1, $2) \
             ON CONFLICT (username) DO UPDATE SET count = attempts.count + 1 \
             RETURNING count, since",
        );
        let row = row.bind(username.to_owned()).bind(now).fetch_one(&mut *write).await?;
        let (count, since): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        write.commit().await?;
        if count > MAX_ATTEMPTS {
            let wait = u64::try_from(since + limit - now).unwrap_or_default();
            return Err(Error::TooManyAttempts(Duration::from_secs(wait)));
        }
        Ok(())
    }

    /// Starts a session of a person who has proved the password, and forgets the attempts.
    pub async fn sign_in(&self, username: &str) -> Result<NewSession, Error> {
        let name = self.user(username).await?.name;
        let mut write = self.database.write().await?;
        let forget = sqlx::query("DELETE FROM attempts WHERE username = $1");
        forget.bind(username.to_owned()).execute(&mut *write).await?;
        let session = start_session(&mut write, username, name).await?;
        write.commit().await?;
        Ok(session)
    }

    /// The person of a session; `None` when it has ended.
    pub async fn session(&self, secret: &str) -> Result<Option<(String, User)>, Error> {
        let select = sqlx::query(
            "SELECT users.username, users.id, users.name, users.verified FROM sessions \
             JOIN users ON users.username = sessions.username \
             WHERE sessions.id = $1 AND sessions.expires > $2",
        );
        let select = select.bind(session_id(secret)).bind(now());
        let row = select.fetch_optional(self.database.reader()).await?;
        let found = row.map(|row| Ok((row.try_get("username")?, crate::store::user(&row)?)));
        found.transpose().map_err(Error::Storage)
    }

    /// Ends a session. One that has ended already is no error.
    pub async fn sign_out(&self, secret: &str) -> Result<(), Error> {
        let mut write = self.database.write().await?;
        let delete = sqlx::query("DELETE FROM sessions WHERE id = $1").bind(session_id(secret));
        delete.execute(&mut *write).await?;
        Ok(write.commit().await?)
    }
}

async fn start_session(
    write: &mut Transaction<'static, Any>,
    username: &str,
    name: String,
) -> Result<NewSession, Error> {
    let (session, now) = (random_secret()?, now());
    let old = sqlx::query("DELETE FROM sessions WHERE expires <= $1").bind(now);
    old.execute(&mut **write).await?;
    let insert = sqlx::query("INSERT INTO sessions (id, username, expires) VALUES ($1, $2, $3)");
    let insert = insert.bind(session_id(&session)).bind(username.to_owned());
    let expires_in = SESSION_TIME.as_secs();
    insert.bind(now + expires_in as i64).execute(&mut **write).await?;
    Ok(NewSession { session, expires_in, username: username.to_owned(), name })
}

fn session_id(secret: &str) -> String {
    digest("session", secret)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}
