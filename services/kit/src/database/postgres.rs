//! PostgreSQL: a connection pool that survives restarts of the server.
//!
//! The pool tests a connection before use and replaces a broken one, so no code here watches the
//! server.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection as _};
use tokio::time::timeout;

use super::{DatabaseError, Pool, shown};

/// Connections of one process. A server allows a hundred by default, for all copies of all
/// services.
const CONNECTIONS: u32 = 8;

/// Error classes (the first two characters of the code) after which a retry may succeed: broken
/// connection, transaction conflict, exhausted resources, server starting or stopping.
const RETRY_CLASSES: [&str; 4] = ["08", "40", "53", "57"];

/// Connects to the server, which may be starting. All connections are made before the service is
/// ready: each takes a login, which is slow in a development build, and in a handover the callers
/// of the old run come all at once.
pub(super) async fn open(url: &str, pool: Pool) -> Result<AnyPool, DatabaseError> {
    let opened = connect(url, pool).await?;
    let most = opened.options().get_max_connections();
    // The server may allow fewer; then requests share those.
    drop(join_all((0..most).map(|_| opened.acquire())).await);
    Ok(opened)
}

/// Connects for migrations, without a timeout: they may be slow, or wait for another process that
/// migrates.
pub(super) async fn open_for_migrations(url: &str, pool: Pool) -> Result<AnyPool, DatabaseError> {
    connect(url, Pool { statement_time: Duration::ZERO, ..pool }).await
}

async fn connect(url: &str, pool: Pool) -> Result<AnyPool, DatabaseError> {
    let options = || {
        let options = AnyPoolOptions::new().acquire_timeout(pool.acquire_time);
        let options = options.max_connections(pool.connections.unwrap_or(CONNECTIONS));
        let limit = pool.statement_time;
        options.after_connect(move |connection, _| Box::pin(limit_statements(connection, limit)))
    };
    let opened = match options().connect(url).await {
        // The pool does not report why it could not connect.
        Err(sqlx::Error::PoolTimedOut) => {
            match timeout(pool.acquire_time, AnyConnection::connect(url)).await {
                Ok(Ok(_)) => options().connect(url).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(sqlx::Error::PoolTimedOut),
            }
        }
        opened => opened,
    };
    opened.map_err(|source| DatabaseError::Open { url: shown(url), source })
}

/// Sets the server's timeout for statements; zero is none.
async fn limit_statements(
    connection: &mut AnyConnection,
    limit: Duration,
) -> Result<(), sqlx::Error> {
    let set = "SELECT set_config('statement_timeout', $1, false)";
    let limit_ms = limit.as_millis().to_string();
    sqlx::query(set).bind(limit_ms).execute(connection).await.map(drop)
}

/// Whether the code means that a retry may succeed.
pub(super) fn is_unavailable(code: &str) -> bool {
    code.len() == 5 && RETRY_CLASSES.iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_server_is_unavailable_wrong_statement_is_not() {
        for code in ["57P01", "57P03", "08006", "40P01", "53300"] {
            assert!(is_unavailable(code), "{code}");
        }
        // Unique violation, syntax error, and a code of SQLite.
        for code in ["23505", "42601", "57", "531"] {
            assert!(!is_unavailable(code), "{code}");
        }
    }
}
