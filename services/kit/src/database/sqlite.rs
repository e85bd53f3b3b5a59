//! SQLite: one file, safe on the disk, and patient with writers.
//!
//! It knows no table; what is stored is each service's business.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::AnyPool;
use sqlx::any::AnyPoolOptions;

use super::{ACQUIRE_TIME, DatabaseError, shown};

/// Connections to an SQLite file: writers go one by one, readers need not wait for them.
const CONNECTIONS: u32 = 4;

/// What every SQLite connection needs. Under `FULL` a commit is on the disk before it is
/// answered, so an acknowledged write survives the process and the machine.
const PRAGMAS: [&str; 4] = [
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
];

/// `SQLITE_BUSY` and `SQLITE_LOCKED` with their extended codes.
const BUSY_CODES: [&str; 7] = ["5", "6", "261", "262", "517", "518", "773"];

/// Opens the file, and locks it against others that open it for the first time, until the second
/// value of the answer is dropped.
pub(super) async fn open(url: &str) -> Result<(AnyPool, Option<File>), DatabaseError> {
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let in_memory = rest.contains(":memory:") || rest.contains("mode=memory");
    let lock = if in_memory { None } else { Some(lock_folder(rest).await?) };
    Ok((connect(url, in_memory).await?, lock))
}

/// Whether this is the code of a database that was locked for too long.
pub(super) fn is_busy(code: &str) -> bool {
    BUSY_CODES.contains(&code)
}

async fn connect(url: &str, in_memory: bool) -> Result<AnyPool, DatabaseError> {
    let mut options = AnyPoolOptions::new()
        .acquire_timeout(ACQUIRE_TIME)
        .max_connections(CONNECTIONS)
        .after_connect(|connection, _| {
            Box::pin(async move {
                for pragma in PRAGMAS {
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
