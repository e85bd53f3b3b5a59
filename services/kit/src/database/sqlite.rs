//! SQLite: one file, safe on the disk, and patient with writers.
//!
//! It knows no table; what is stored is each service's business.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sqlx::AnyPool;
use sqlx::any::AnyPoolOptions;

use super::{ACQUIRE_TIME, DatabaseError};
use crate::settings::SettingError;

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
    let Some(file) = file(url)? else {
        // Each connection would be a database of its own, and gone when it is closed.
        let options = options(1).idle_timeout(None).max_lifetime(None);
        let pool = connect(options, "sqlite::memory:", url).await?;
        return Ok((pool.clone(), pool, None));
    };
    let lock = lock_folder(&file).await?;
    let escaped = escaped(&file);
    // The writer comes first: it makes the file.
    let writers = connect(options(1), &escaped, url).await?;
    let readers = connect(options(READERS), &escaped, url).await?;
    Ok((readers, writers, Some(lock)))
}

/// The file that an address names: what follows `sqlite:` or `sqlite://` is a path as it stands,
/// whatever it holds, since folders are not named with addresses in mind. `None` is memory.
fn file(url: &str) -> Result<Option<PathBuf>, SettingError> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or_default();
    // The options that the driver would take here: a file of that name is not what was meant.
    if name.is_empty() || name.contains('?') {
        let expected = "`sqlite:` and the path of a file, without options";
        return Err(SettingError::bad("DATABASE_URL", url, expected));
    }
    Ok((path != ":memory:").then(|| PathBuf::from(path)))
}

/// The same for the driver, in which nothing has a meaning: neither in an address (`%`, `?`, `#`,
/// `..`) nor to SQLite, to which a relative path may be an address again.
fn escaped(file: &Path) -> String {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let bytes = file.as_os_str().as_bytes().iter();
    let escaped: String = bytes.map(|byte| format!("%{byte:02x}")).collect();
    format!("sqlite:{escaped}?mode=rwc")
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
    opened.map_err(|source| DatabaseError::Open { url: url.to_owned(), source })
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
