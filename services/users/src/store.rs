//! The people in the database: every SQL statement of this service.
//!
//! Every statement works on SQLite and on PostgreSQL; the migrations differ. Constraints of the
//! database enforce uniqueness. A method that writes returns after the commit.

use kit::pages::Page;
use kit::{Database, IfMatch, Migration, Once, Span, Tag, is_conflict};
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::bodies::{NewUser, User, UserChange};
use crate::error::Error;

/// All people.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) database: Database,
}

/// The versions of the schema; opening the database applies those that are missing.
pub const MIGRATIONS: [Migration; 4] = [
    Migration {
        version: 1,
        description: "users",
        sqlite: include_str!("../migrations/sqlite/0001_users.sql"),
        postgres: include_str!("../migrations/postgres/0001_users.sql"),
    },
    Migration {
        version: 2,
        description: "usernames in byte order",
        sqlite: include_str!("../migrations/sqlite/0002_byte_order.sql"),
        postgres: include_str!("../migrations/postgres/0002_byte_order.sql"),
    },
    Migration {
        version: 3,
        description: "accounts",
        sqlite: include_str!("../migrations/sqlite/0003_accounts.sql"),
        postgres: include_str!("../migrations/postgres/0003_accounts.sql"),
    },
    kit::once::migration(4),
];

impl Store {
    /// The store in a migrated database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The people with their usernames, in the byte order of usernames.
    pub async fn users(&self, span: Span<String>) -> Result<Page<(String, User), String>, Error> {
        let rows = sqlx::query(
            "SELECT username, id, name, verified FROM users WHERE username > $1 \
             ORDER BY username LIMIT $2 + 0",
        );
        let rows = rows.bind(span.after.clone()).bind(span.limit());
        let rows = rows.fetch_all(self.database.reader()).await?;
        let people = rows.iter().map(|row| Ok((row.try_get("username")?, user(row)?)));
        let people = people.collect::<Result<Vec<(String, User)>, sqlx::Error>>()?;
        Ok(Page::new(people, &span, |(username, _)| username.clone()))
    }

    /// The person with this username.
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

    /// The person with this username, and whether the person can sign in.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn person(&self, username: &str) -> Result<(User, bool), Error> {
        let row = sqlx::query(
            "SELECT users.id, users.name, users.verified, accounts.username FROM users \
             LEFT JOIN accounts ON accounts.username = users.username WHERE users.username = $1",
        )
        .bind(username.to_owned())
        .fetch_optional(self.database.reader())
        .await?;
        let row = row.ok_or_else(|| Error::NoUser(username.to_owned()))?;
        Ok((user(&row)?, row.try_get::<Option<String>, _>(3)?.is_some()))
    }

    /// Checks that no person has the username.
    ///
    /// # Errors
    /// When one has.
    pub async fn check_free(&self, username: &str) -> Result<(), Error> {
        match self.user(username).await {
            Ok(_) => Err(Error::Taken(format!("there is already a user `{username}`"))),
            Err(Error::NoUser(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Adds a person; `owner` is the caller, whose keys are in `once`.
    ///
    /// # Errors
    /// When another person has the username or the id.
    pub async fn create(&self, new: &NewUser, owner: &str, once: &Once) -> Result<User, Error> {
        let mut write = self.database.write().await?;
        if let Some(user) = once.first(&mut write, owner, new).await? {
            return Ok(user);
        }
        let user = insert(&mut write, new).await?;
        once.keep(&mut write, owner, &user).await?;
        write.commit().await?;
        Ok(user)
    }

    /// Changes a person.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn change(
        &self,
        username: &str,
        change: UserChange,
        expected: &IfMatch,
    ) -> Result<User, Error> {
        let mut write = self.database.write().await?;
        if expected.is_given() {
            // An update that changes nothing locks the row in both databases.
            let lock =
                "UPDATE users SET name = name WHERE username = $1 RETURNING id, name, verified";
            let row =
                sqlx::query(lock).bind(username.to_owned()).fetch_optional(&mut *write).await?;
            let current = user(&row.ok_or_else(|| Error::NoUser(username.to_owned()))?)?;
            expected.check(&Tag::of(&current))?;
        }
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

/// Inserts a person.
///
/// # Errors
/// When another person has the username or the id.
pub(crate) async fn insert(
    write: &mut Transaction<'static, Any>,
    new: &NewUser,
) -> Result<User, Error> {
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
    let mut query = query
        .bind(new.username.clone())
        .bind(new.name.clone())
        .bind(i64::from(new.verified.unwrap_or(false)));
    if let Some(id) = new.id {
        query = query.bind(id);
    }
    let row = query.fetch_one(&mut **write).await.map_err(|error| taken_or(new, error))?;
    Ok(user(&row)?)
}

/// The person in a row.
pub(crate) fn user(row: &AnyRow) -> Result<User, sqlx::Error> {
    Ok(User {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        verified: row.try_get("verified")?,
    })
}

fn taken_or(new: &NewUser, error: sqlx::Error) -> Error {
    if !is_conflict(&error) {
        return Error::Storage(error);
    }
    Error::Taken(match new.id {
        None => format!("there is already a user `{}`", new.username),
        Some(id) => format!("there is already a user `{}` or a user with id {id}", new.username),
    })
}
