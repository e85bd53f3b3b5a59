//! PostgreSQL: a pool of connections that outlives the server's restarts.
//!
//! A connection is tried before it is used, and one that broke is replaced, so nothing here
//! watches the server.

use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection as _};
use tokio::time::timeout;

use super::{ACQUIRE_TIME, DatabaseError, shown};
use crate::limits::Limits;

/// Connections of one service: some services with some copies each stay below the hundred that a
/// server has to give.
const CONNECTIONS: u32 = 8;

/// Classes of codes, by their first two characters, for which the same request may succeed later:
/// connections that broke, transactions that met, resources used up, and a server that stops
/// or starts.
const AWAY_CLASSES: [&str; 4] = ["08", "40", "53", "57"];

/// Connects to the server, which may be starting. Statements may take as long as a request may.
pub(super) async fn open(url: &str) -> Result<AnyPool, DatabaseError> {
    connect(url, Limits::default().request_time).await
}

/// The same for migrations, which may take as long as they need, and wait for those of others.
pub(super) async fn open_for_migrations(url: &str) -> Result<AnyPool, DatabaseError> {
    connect(url, Duration::ZERO).await
}

async fn connect(url: &str, limit: Duration) -> Result<AnyPool, DatabaseError> {
    let options = || {
        let options = AnyPoolOptions::new().acquire_timeout(ACQUIRE_TIME);
        let options = options.max_connections(CONNECTIONS);
        options.after_connect(move |connection, _| Box::pin(limit_statements(connection, limit)))
    };
    let opened = match options().connect(url).await {
        // The pool does not tell why it had to wait.
        Err(sqlx::Error::PoolTimedOut) => {
            match timeout(ACQUIRE_TIME, AnyConnection::connect(url)).await {
                Ok(Ok(_)) => options().connect(url).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(sqlx::Error::PoolTimedOut),
            }
        }
        opened => opened,
    };
    opened.map_err(|source| DatabaseError::Open { url: shown(url), source })
}

/// Lets the server end a statement that takes longer; zero is no limit. A request that is given
/// up leaves its statement behind, and its connection is of no use to others until that ends.
async fn limit_statements(
    connection: &mut AnyConnection,
    limit: Duration,
) -> Result<(), sqlx::Error> {
    let set = "SELECT set_config('statement_timeout', $1, false)";
    let limit_ms = limit.as_millis().to_string();
    sqlx::query(set).bind(limit_ms).execute(connection).await.map(drop)
}

/// Whether this is the code of a server that is away or has no time.
pub(super) fn is_away(code: &str) -> bool {
    code.len() == 5 && AWAY_CLASSES.iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_stops_is_away_and_a_wrong_statement_is_not() {
        for code in ["57P01", "57P03", "08006", "40P01", "53300"] {
            assert!(is_away(code), "{code}");
        }
        // Unique violation, syntax error, and a code of SQLite.
        for code in ["23505", "42601", "57", "531"] {
            assert!(!is_away(code), "{code}");
        }
    }
}
