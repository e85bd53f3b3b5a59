//! People in the database: every statement of this service.
//!
//! Constraints of the database decide what is unique. Statements are written so that SQLite and
//! PostgreSQL both take them; what differs is in the folders of migrations. A write has returned
//! only when it is committed.

use std::collections::BTreeMap;

use kit::Database;
use kit::database::{DatabaseError, Engine, Migration, is_taken};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::Error;

/// All people.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
}

/// A person, as the original answers it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct User {
    /// The person's number, never given again.
    pub id: i64,
    /// The name that people read.
    pub name: String,
    /// 1 when verified, else 0.
    pub verified: i64,
}

/// A person to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// The key in paths.
    pub username: String,
    /// The name that people read.
    pub name: String,
    /// Whether the person is verified.
    pub verified: bool,
    /// The number; given by the database when it is not.
    pub id: Option<i64>,
}

/// What to change of a person; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// Another name.
    pub name: Option<String>,
    /// Verified or not.
    pub verified: Option<bool>,
}

const SQLITE: [Migration; 1] = [Migration {
    version: 1,
    description: "users",
    sql: include_str!("../migrations/sqlite/0001_users.sql"),
}];

const POSTGRES: [Migration; 1] = [Migration {
    version: 1,
    description: "users",
    sql: include_str!("../migrations/postgres/0001_users.sql"),
}];

impl Store {
    /// Opens the database at `url` with its tables up to date.
    ///
    /// # Errors
    /// When it cannot be opened or changed.
    pub async fn open(url: &str) -> Result<Self, DatabaseError> {
        let migrations = |engine| match engine {
            Engine::Sqlite => &SQLITE[..],
            Engine::Postgres => &POSTGRES[..],
        };
        Ok(Self { database: Database::open(url, migrations).await? })
    }

    /// The database, for probes.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Closes the database in order.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Everybody, sorted by username in byte order whatever the database's collation.
    pub async fn users(&self) -> Result<BTreeMap<String, User>, Error> {
        let rows = sqlx::query("SELECT username, id, name, verified FROM users");
        let rows = rows.fetch_all(self.database.reader()).await?;
        Ok(rows
            .iter()
            .map(|row| Ok((row.try_get("username")?, user(row)?)))
            .collect::<Result<_, sqlx::Error>>()?)
    }

    /// One person.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn user(&self, username: &str) -> Result<User, Error> {
        let row = sqlx::query("SELECT id, name, verified FROM users WHERE username = $1")
            .bind(username.to_owned())
            .fetch_optional(self.database.reader())
            .await?;
        Ok(user(&row.ok_or_else(|| Error::NoUser(username.to_owned()))?)?)
    }

    /// Adds a person.
    ///
    /// # Errors
    /// When the username or the id belongs to somebody.
    pub async fn create(&self, new: &NewUser) -> Result<User, Error> {
        let mut write = self.database.write().await?;
        let query = match new.id {
            None => sqlx::query(
                "INSERT INTO users (username, name, verified) VALUES ($1, $2, $3) \
                 RETURNING id, name, verified",
            ),
            Some(_) => sqlx::query(
                "INSERT INTO users (username, name, verified, id) VALUES ($1, $2, $3, $4) \
                 RETURNING id, name, verified",
            ),
        };
        let mut query =
            query.bind(new.username.clone()).bind(new.name.clone()).bind(i64::from(new.verified));
        if let Some(id) = new.id {
            query = query.bind(id);
        }
        let row = query.fetch_one(&mut *write).await.map_err(|error| new.taken_or(error))?;
        let user = user(&row)?;
        write.commit().await?;
        Ok(user)
    }

    /// Changes a person.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn change(&self, username: &str, change: UserChange) -> Result<User, Error> {
        let mut write = self.database.write().await?;
        let row = sqlx::query(
            "UPDATE users SET name = COALESCE($2, name), verified = COALESCE($3, verified) \
             WHERE username = $1 RETURNING id, name, verified",
        )
        .bind(username.to_owned())
        .bind(change.name)
        .bind(change.verified.map(i64::from))
        .fetch_optional(&mut *write)
        .await?;
        let user = user(&row.ok_or_else(|| Error::NoUser(username.to_owned()))?)?;
        write.commit().await?;
        Ok(user)
    }

    /// Removes a person.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn delete(&self, username: &str) -> Result<(), Error> {
        let mut write = self.database.write().await?;
        let delete = sqlx::query("DELETE FROM users WHERE username = $1").bind(username.to_owned());
        let deleted = delete.execute(&mut *write).await?;
        write.commit().await?;
        let none = deleted.rows_affected() == 0;
        if none { Err(Error::NoUser(username.to_owned())) } else { Ok(()) }
    }
}

impl NewUser {
    fn taken_or(&self, error: sqlx::Error) -> Error {
        if !is_taken(&error) {
            return Error::Storage(error);
        }
        Error::Taken(match self.id {
            None => format!("there is a user `{}` already", self.username),
            Some(id) => {
                format!("there is a user `{}` or a user with id {id} already", self.username)
            }
        })
    }
}

fn user(row: &AnyRow) -> Result<User, sqlx::Error> {
    Ok(User {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        verified: row.try_get("verified")?,
    })
}
