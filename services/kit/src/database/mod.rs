//! Opens the database that `DATABASE_URL` names and brings its tables up to date.
//!
//! Statements belong to each service's `store.rs`; they are written for the `Any` driver with
//! `$1` placeholders, so that SQLite and PostgreSQL both take them, and what differs is a folder
//! of migrations for each. Both drivers are in every build: the address decides, at the start.

mod postgres;
mod sqlite;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration as Step, MigrationType, Migrator};
use sqlx::{Any, AnyPool, SqlSafeStr as _, Transaction};
use tokio::time::timeout;

use crate::settings::SettingError;

/// How long a request waits for a connection before it is told to come again.
const ACQUIRE_TIME: Duration = Duration::from_secs(3);

/// How long a stop waits for connections that are in use.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Pools of connections.
#[derive(Clone, Debug)]
pub struct Database {
    readers: AnyPool,
    /// SQLite lets one write at a time: those who wait for their turn must not hold the
    /// connections that readers need. The same as `readers` for a server.
    writers: AnyPool,
    engine: Engine,
}

/// The database engines that the services can speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file, or memory in tests.
    Sqlite,
    /// A server.
    Postgres,
}

/// One change of the tables, applied once in the order of versions.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number; never reused.
    pub version: i64,
    /// What it does, in words.
    pub description: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address is of an engine that is not compiled in, or malformed.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The folder of the file cannot be made or locked.
    #[error("preparing the folder `{}` for `DATABASE_URL`", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database does not open.
    #[error("opening the database `{url}` from `DATABASE_URL`")]
    Open {
        /// The address, without what may be secret.
        url: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The tables cannot be brought up to date.
    #[error("bringing the tables of `{url}` up to date")]
    Migrate {
        /// The address, without what may be secret.
        url: String,
        /// What the driver said.
        source: MigrateError,
    },
}

impl Database {
    /// Opens the database at `url`, creating file and folder where they are missing, and applies
    /// the migrations that `migrations` gives for its engine.
    ///
    /// # Errors
    /// When the address is wrong, the database does not open, or a migration fails.
    pub async fn open(
        url: &str,
        migrations: fn(Engine) -> &'static [Migration],
    ) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let Some(engine) = Engine::of(url) else {
            let expected = "an address such as `sqlite:/path/to/file.db` or \
                            `postgres://user@host:5432/name`";
            return Err(SettingError::bad("DATABASE_URL", shown(url), expected).into());
        };
        let migrate = |pool| migrate(pool, url, migrations(engine));
        match engine {
            Engine::Sqlite => {
                let (readers, writers, lock) = sqlite::open(url).await?;
                migrate(writers.clone()).await?;
                drop(lock);
                Ok(Self { readers, writers, engine })
            }
            Engine::Postgres => {
                // The driver locks the database itself while it migrates.
                let migrating = postgres::open_for_migrations(url).await?;
                migrate(migrating.clone()).await?;
                migrating.close().await;
                let pool = postgres::open(url).await?;
                Ok(Self { readers: pool.clone(), writers: pool, engine })
            }
        }
    }

    /// For statements that only read.
    pub fn reader(&self) -> &AnyPool {
        &self.readers
    }

    /// Begins a transaction for writing. Success may be told to a caller only after `commit` has
    /// returned: rows that a statement returns come before they are safe.
    ///
    /// # Errors
    /// When no connection is free in time or the database stays locked.
    pub async fn write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.engine {
            // Taking the lock at once lets writers queue; a lock taken halfway would fail.
            Engine::Sqlite => self.writers.begin_with("BEGIN IMMEDIATE").await,
            Engine::Postgres => self.writers.begin().await,
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// What the driver says when it does not.
    pub async fn reachable(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1").execute(&self.readers).await.map(drop)
    }

    /// Closes all connections in order. Those of requests that were given up are left after a
    /// second: both databases undo by themselves what was not committed.
    pub async fn close(&self) {
        let close = async {
            self.writers.close().await;
            self.readers.close().await;
        };
        if timeout(CLOSE_TIME, close).await.is_err() {
            tracing::warn!("stopped while statements were under way");
        }
    }
}

impl Engine {
    fn of(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once(':')?;
        match scheme {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            _ => None,
        }
    }
}

/// Whether the database is away or had no time for a request, as against refusing it: the same
/// request may succeed later. What a write came to, whose commit was cut off, nobody knows.
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => true,
        // Codes of one engine are none of the other: they differ in length.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| sqlite::is_busy(&code) || postgres::is_away(&code))
        }
        _ => false,
    }
}

/// Whether a uniqueness constraint refused the write.
pub fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

async fn migrate(
    pool: AnyPool,
    url: &str,
    migrations: &'static [Migration],
) -> Result<(), DatabaseError> {
    let migrated = migrator(migrations).run(&pool).await;
    migrated.map_err(|source| DatabaseError::Migrate { url: shown(url), source })
}

fn migrator(migrations: &'static [Migration]) -> Migrator {
    let steps = migrations.iter().map(|migration| {
        Step::new(
            migration.version,
            Cow::Borrowed(migration.description),
            MigrationType::Simple,
            migration.sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(steps.collect())
}

/// The address without user, password and options, among which a password may be as well. That
/// of a file has none of them.
fn shown(url: &str) -> String {
    if Engine::of(url) == Some(Engine::Sqlite) {
        return url.to_owned();
    }
    let url = url.split('?').next().unwrap_or(url);
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}***{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}
