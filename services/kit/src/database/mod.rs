//! Opens the database that `DATABASE_URL` names, migrates it, and maps its errors to problems.
//!
//! The statements are in each service's `store.rs`. They use the `Any` driver with `$1`
//! placeholders, so SQLite and PostgreSQL accept them; only migrations differ between the two.
//! Every build contains both drivers, and the URL chooses one at the start.

mod postgres;
mod sqlite;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration as Step, MigrationType, Migrator};
use sqlx::{Any, AnyPool, SqlSafeStr as _, Transaction};
use tokio::time::timeout;

use crate::limits::Limits;
use crate::problem::Problem;
use crate::settings::{SettingError, Settings};

/// The timeout for closing connections that are in use.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// When a caller may retry after the database was unavailable.
const RETRY_TIME: Duration = Duration::from_secs(1);

/// The connection pools of one database.
#[derive(Clone, Debug)]
pub struct Database {
    readers: AnyPool,
    /// SQLite allows one write at a time. Writers that wait must not occupy the connections of
    /// readers. For PostgreSQL this is the same pool.
    writers: AnyPool,
    engine: Engine,
}

/// The limits of the connection pools.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// The connections for reading from a file, or to a server; by default 4 and 8.
    pub connections: Option<u32>,
    /// The timeout of a request for a free connection.
    pub acquire_time: Duration,
    /// The timeout of a statement, enforced by PostgreSQL. A request that times out leaves its
    /// statement running, which occupies the connection.
    pub statement_time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

/// One change of the schema. Migrations are applied once, in the order of versions.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number; never reused.
    pub version: i64,
    /// A short description.
    pub description: &'static str,
    /// The statements for SQLite.
    pub sqlite: &'static str,
    /// The statements for PostgreSQL.
    pub postgres: &'static str,
}

/// Why the database cannot be used. A URL in it contains no secrets.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("failed to prepare the folder `{}` for `DATABASE_URL`", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("failed to open the database `{url}` from `DATABASE_URL`")]
    Open { url: String, source: sqlx::Error },
    #[error("failed to migrate the database `{url}`")]
    Migrate { url: String, source: MigrateError },
}

impl Database {
    /// Opens the database at `url` and applies `migrations`. A missing file and its folder are
    /// created.
    ///
    /// # Errors
    /// When the URL is invalid, the database cannot be opened, or a migration fails.
    pub async fn open(url: &str, migrations: &[Migration]) -> Result<Self, DatabaseError> {
        Self::open_with(url, migrations, Pool::default()).await
    }

    /// Like [`Database::open`], with these limits.
    ///
    /// # Errors
    /// Like [`Database::open`].
    pub async fn open_with(
        url: &str,
        migrations: &[Migration],
        pool: Pool,
    ) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let Some(engine) = Engine::of(url) else {
            let expected = "an address such as `sqlite:/path/to/file.db` or \
                            `postgres://user@host:5432/name`";
            return Err(SettingError::bad("DATABASE_URL", shown(url), expected).into());
        };
        let migrate = async |pool: &AnyPool| {
            let migrated = migrator(engine, migrations).run(pool).await;
            migrated.map_err(|source| DatabaseError::Migrate { url: shown(url), source })
        };
        match engine {
            Engine::Sqlite => {
                let (readers, writers, _lock) = sqlite::open(url, pool).await?;
                migrate(&writers).await?;
                Ok(Self { readers, writers, engine })
            }
            Engine::Postgres => {
                // The driver locks the database while it migrates.
                let migrating = postgres::open_for_migrations(url, pool).await?;
                migrate(&migrating).await?;
                migrating.close().await;
                let pool = postgres::open(url, pool).await?;
                Ok(Self { readers: pool.clone(), writers: pool, engine })
            }
        }
    }

    /// The pool for statements that only read.
    pub fn reader(&self) -> &AnyPool {
        &self.readers
    }

    /// Begins a transaction for writing. Do not report success before `commit` has returned: rows
    /// that a statement returns are not durable yet.
    ///
    /// # Errors
    /// When no connection is free in time, or the database stays locked.
    pub async fn write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.engine {
            // Taking the lock at once makes writers queue; an upgrade in a transaction would fail.
            Engine::Sqlite => self.writers.begin_with("BEGIN IMMEDIATE").await,
            Engine::Postgres => self.writers.begin().await,
        }
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// The driver's error.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1").execute(&self.readers).await.map(drop)
    }

    /// Closes all connections. Connections that are still in use after a second are left: both
    /// engines roll back what was not committed.
    pub async fn close(&self) {
        let close = async {
            self.writers.close().await;
            self.readers.close().await;
        };
        if timeout(CLOSE_TIME, close).await.is_err() {
            tracing::warn!("stopped while statements were running");
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            connections: None,
            acquire_time: Duration::from_secs(3),
            statement_time: Limits::default().request_time,
        }
    }
}

impl Pool {
    /// Reads `DATABASE_CONNECTIONS` and `DATABASE_TIMEOUT`. A statement has the timeout of a
    /// request.
    ///
    /// # Errors
    /// When one of them, or `REQUEST_TIMEOUT`, is not a number from 1 to 1000 or a time.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let default = Self::default();
        let (name, expected) = ("DATABASE_CONNECTIONS", "a number from 1 to 1000");
        let connections = settings.text(name)?.map_or(Ok(None), |text| {
            let number = text.trim().parse().ok().filter(|number| (1..=1000).contains(number));
            number.map(Some).ok_or_else(|| SettingError::bad(name, text, expected))
        })?;
        Ok(Self {
            connections,
            acquire_time: settings.time("DATABASE_TIMEOUT", default.acquire_time)?,
            statement_time: Limits::from_settings(settings)?.request_time,
        })
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

/// Logs an error of the storage. The caller gets 503 if a retry may succeed, else 500.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_unavailable(&error) {
            tracing::warn!(%error, "the storage is not available");
            Self::unavailable("the storage is not available", RETRY_TIME)
        } else {
            tracing::error!(%error, "the storage failed");
            Self::internal()
        }
    }
}

/// Whether the database was unreachable or busy, so that the same request may succeed later. A
/// write that failed this way may have been committed.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => true,
        // Codes of the two engines differ in length.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| sqlite::is_busy(&code) || postgres::is_unavailable(&code)),
        _ => false,
    }
}

/// Whether a uniqueness constraint rejected the write.
pub fn is_conflict(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

fn migrator(engine: Engine, migrations: &[Migration]) -> Migrator {
    let steps = migrations.iter().map(|migration| {
        let sql = match engine {
            Engine::Sqlite => migration.sqlite,
            Engine::Postgres => migration.postgres,
        };
        let description = Cow::Borrowed(migration.description);
        Step::new(migration.version, description, MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(steps.collect())
}

/// The URL without user, password and options, which may contain secrets. The URL of a file
/// contains none.
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
