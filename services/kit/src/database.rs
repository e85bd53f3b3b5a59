//! Opens the database that `DATABASE_URL` names and brings its tables up to date.
//!
//! Statements belong to each service's `store.rs`; they are written for the `Any` driver with
//! `$1` placeholders, which SQLite and PostgreSQL both accept, so that another engine is a
//! feature of sqlx and a folder of migrations. Only SQLite is compiled in so far.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migration as Step, MigrationType, Migrator};
use sqlx::{Any, AnyPool, SqlSafeStr as _, Transaction};

use crate::settings::SettingError;

/// How long a request waits for a connection before it is told to come again.
const ACQUIRE_TIME: Duration = Duration::from_secs(3);

/// Connections to an SQLite file: writers go one by one, readers need not wait for them.
const SQLITE_CONNECTIONS: u32 = 4;

/// What every SQLite connection needs. Under `FULL` a commit is on the disk before it is
/// answered, so an acknowledged write survives the process and the machine.
const SQLITE_PRAGMAS: [&str; 4] = [
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
];

/// `SQLITE_BUSY` and `SQLITE_LOCKED` with their extended codes.
const SQLITE_BUSY_CODES: [&str; 7] = ["5", "6", "261", "262", "517", "518", "773"];

/// A pool of connections.
#[derive(Clone, Debug)]
pub struct Database {
    pool: AnyPool,
    engine: Engine,
}

/// The database engines that the services can speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file, or memory in tests.
    Sqlite,
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
        let Some(rest) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))
        else {
            let expected = "an address such as `sqlite:/path/to/file.db`";
            return Err(SettingError::bad("DATABASE_URL", shown(url), expected).into());
        };
        let in_memory = rest.contains(":memory:") || rest.contains("mode=memory");
        let folder_lock = if in_memory { None } else { Some(lock_folder(rest).await?) };
        let database = Self { pool: open_sqlite(url, in_memory).await?, engine: Engine::Sqlite };
        migrator(migrations(database.engine))
            .run(&database.pool)
            .await
            .map_err(|source| DatabaseError::Migrate { url: shown(url), source })?;
        drop(folder_lock);
        Ok(database)
    }

    /// For statements that only read.
    pub fn reader(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a transaction for writing. Success may be told to a caller only after `commit` has
    /// returned: rows that a statement returns come before they are safe.
    ///
    /// # Errors
    /// When no connection is free in time or the database stays locked.
    pub async fn write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.engine {
            // Taking the lock at once lets writers queue; a lock taken halfway would fail.
            Engine::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// What the driver says when it does not.
    pub async fn reachable(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(drop)
    }

    /// Closes all connections in order.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether the database had no time for a request, as against refusing it.
pub fn is_busy(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| SQLITE_BUSY_CODES.contains(&&*code))
        }
        _ => false,
    }
}

/// Whether a uniqueness constraint refused the write.
pub fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

async fn open_sqlite(url: &str, in_memory: bool) -> Result<AnyPool, DatabaseError> {
    let mut options = AnyPoolOptions::new()
        .acquire_timeout(ACQUIRE_TIME)
        .max_connections(SQLITE_CONNECTIONS)
        .after_connect(|connection, _| {
            Box::pin(async move {
                for pragma in SQLITE_PRAGMAS {
                    sqlx::query(pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
    let mut url_with_mode = url.to_owned();
    if in_memory {
        // Each connection would be a database of its own, and gone when it is closed.
        options = options.max_connections(1).idle_timeout(None).max_lifetime(None);
    } else if !url.contains('?') {
        url_with_mode.push_str("?mode=rwc");
    }
    let opened = options.connect(&url_with_mode).await;
    opened.map_err(|source| DatabaseError::Open { url: shown(url), source })
}

/// Makes the folder of the file where it is missing, and locks it until the answer is dropped:
/// of two programs that open a new database at once, the second finds it complete. SQLite's own
/// locks cannot do this, since the driver takes them anew for each migration.
async fn lock_folder(rest: &str) -> Result<File, DatabaseError> {
    let path = Path::new(rest.split('?').next().unwrap_or(rest));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let locking = folder.clone();
    let lock = move || {
        std::fs::create_dir_all(&locking)?;
        let file = File::open(&locking)?;
        file.lock()?;
        Ok(file)
    };
    let locked = tokio::task::spawn_blocking(lock).await.map_err(io::Error::other);
    locked.flatten().map_err(|source| DatabaseError::Folder { folder, source })
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

/// The address without user and password.
fn shown(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}***{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}
