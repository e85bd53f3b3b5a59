//! SQLite: one file, safe on the disk, and patient with writers.
//!
//! It knows no table; what is stored is each service's business.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::AnyPool;
use sqlx::any::AnyPoolOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::{ACQUIRE_TIME, DatabaseError, shown};

/// Connections for reading from a file. Writers go one by one through one of their own, so that
/// readers need not wait for them.
const READERS: u32 = 4;

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

/// Opens the file for readers and for a writer, and locks it against others that open it for the
/// first time, until the last value of the answer is dropped.
pub(super) async fn open(url: &str) -> Result<(AnyPool, AnyPool, Option<File>), DatabaseError> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        // Each connection would be a database of its own, and gone when it is closed.
        let options = options(1).idle_timeout(None).max_lifetime(None);
        let pool = connect(options, url, url).await?;
        return Ok((pool.clone(), pool, None));
    }
    let failed = |source| DatabaseError::Open { url: shown(url), source };
    // The driver's own reading of the address, which may be escaped.
    let parsed = SqliteConnectOptions::from_str(url).map_err(failed)?;
    let lock = lock_folder(parsed.get_filename()).await?;
    let with_mode = if url.contains('?') { url.to_owned() } else { format!("{url}?mode=rwc") };
    // The writer comes first: it makes the file.
    let writers = connect(options(1), &with_mode, url).await?;
    let readers = connect(options(READERS), &with_mode, url).await?;
    Ok((readers, writers, Some(lock)))
}

/// Whether this is the code of a database that was locked for too long.
pub(super) fn is_busy(code: &str) -> bool {
    BUSY_CODES.contains(&code)
}

fn options(connections: u32) -> AnyPoolOptions {
    let options = AnyPoolOptions::new().acquire_timeout(ACQUIRE_TIME).max_connections(connections);
    options.after_connect(|connection, _| {
        Box::pin(async move {
            for pragma in PRAGMAS {
                sqlx::query(pragma).execute(&mut *connection).await?;
            }
            Ok(())
        })
    })
}

async fn connect(options: AnyPoolOptions, to: &str, url: &str) -> Result<AnyPool, DatabaseError> {
    let opened = options.connect(to).await;
    opened.map_err(|source| DatabaseError::Open { url: shown(url), source })
}

/// Makes the folder of the file where it is missing, and locks it until the answer is dropped:
/// of two programs that open a new database at once, the second finds it complete. SQLite's own
/// locks cannot do this, since the driver takes them anew for each migration.
async fn lock_folder(file: &Path) -> Result<File, DatabaseError> {
    let folder = match file.parent() {
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
