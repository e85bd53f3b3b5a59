//! SQLite: one file with durable commits, several readers, and one writer at a time.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Connection as _};

use super::{DatabaseError, Pool};
use crate::settings::SettingError;

/// Connections for reading from a file. Writers share one other connection, so readers never wait
/// for them.
const READERS: u32 = 4;

/// The settings of every connection. With `FULL` a commit returns after the data is on the disk, so
/// an acknowledged write survives a crash of the process and of the machine.
const PRAGMAS: [&str; 4] = [
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
];

/// `SQLITE_BUSY` and `SQLITE_LOCKED` with their extended codes.
const BUSY_CODES: [&str; 7] = ["5", "6", "261", "262", "517", "518", "773"];

/// The pools for readers and for the writer, and a lock. Until the lock is dropped, no other
/// process opens the file.
pub(super) async fn open(
    url: &str,
    pool: Pool,
) -> Result<(AnyPool, AnyPool, Option<File>), DatabaseError> {
    let Some(file) = file(url)? else {
        // Each connection is a separate database, which disappears when the connection closes.
        let options = options(1, pool).idle_timeout(None).max_lifetime(None);
        let pool = connect(options, "sqlite::memory:", url).await?;
        return Ok((pool.clone(), pool, None));
    };
    let lock = lock_folder(&file).await?;
    let escaped = escaped(&file);
    // The writer is first: it creates the file.
    let writers = connect(sound(options(1, pool)), &escaped, url).await?;
    let readers =
        connect(options(pool.connections.unwrap_or(READERS), pool), &escaped, url).await?;
    Ok((readers, writers, Some(lock)))
}

/// The file of a URL; `None` is memory. Everything after `sqlite:` or `sqlite://` is the path,
/// taken literally: names of folders may contain characters that are special in URLs.
fn file(url: &str) -> Result<Option<PathBuf>, SettingError> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or_default();
    // The user meant options of the driver, not a file of that name.
    if name.is_empty() || name.contains('?') {
        let expected = "`sqlite:` and the path of a file, without options";
        return Err(SettingError::bad("DATABASE_URL", url, expected));
    }
    Ok((path != ":memory:").then(|| PathBuf::from(path)))
}

/// The file as a URL for the driver, with every byte escaped: `%`, `?`, `#` and `..` are special in
/// a URL, and SQLite may read a relative path as a URL.
fn escaped(file: &Path) -> String {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let bytes = file.as_os_str().as_bytes().iter();
    let escaped: String = bytes.map(|byte| format!("%{byte:02x}")).collect();
    format!("sqlite:{escaped}?mode=rwc")
}

/// Whether the code means that the database was locked for too long.
pub(super) fn is_busy(code: &str) -> bool {
    BUSY_CODES.contains(&code)
}

fn options(connections: u32, pool: Pool) -> AnyPoolOptions {
    let options = AnyPoolOptions::new().acquire_timeout(pool.acquire_time);
    // The driver checks a connection when it is returned, and an idle one has no server to lose.
    let options = options.max_connections(connections).test_before_acquire(false);
    options.after_connect(|connection, _| {
        Box::pin(async move {
            for pragma in PRAGMAS {
                sqlx::query(pragma).execute(&mut *connection).await?;
            }
            Ok(())
        })
    })
}

/// Closes a returned connection whose transaction SQLite rolled back by itself, as on a full disk.
/// The driver still counts that transaction, so every later one on the connection would fail.
fn sound(options: AnyPoolOptions) -> AnyPoolOptions {
    options.after_release(|connection, _| {
        Box::pin(async move {
            if connection.is_in_transaction() {
                // The rollback of a dropped transaction comes before the answer.
                connection.ping().await?;
            }
            Ok(!connection.is_in_transaction())
        })
    })
}

async fn connect(options: AnyPoolOptions, to: &str, url: &str) -> Result<AnyPool, DatabaseError> {
    let opened = options.connect(to).await;
    opened.map_err(|source| DatabaseError::Open { url: url.to_owned(), source })
}

/// Creates the folder of the file if it is missing, and locks it until the result is dropped. Of
/// two programs that open a new database at the same time, the second one finds it complete.
/// SQLite's locks are not enough, because the driver releases them between migrations.
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
