//! `kit::Database`: durability, migrations, and concurrent writers.
//!
//! `services/todo/tests/outage.rs` tests a database server that stops and restarts.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use kit::{Database, Migration, is_conflict};
use postgres_cluster::test_server::TestServer;
use sqlx::Row as _;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(20);

const FIRST: Migration = migration(
    1,
    "words",
    "CREATE TABLE words (word TEXT NOT NULL UNIQUE); CREATE INDEX by_word ON words (word);",
);

const SECOND: Migration =
    migration(2, "lengths", "ALTER TABLE words ADD COLUMN length INTEGER NOT NULL DEFAULT 0");

const fn migration(version: i64, description: &'static str, sql: &'static str) -> Migration {
    Migration { version, description, sqlite: sql, postgres: sql }
}

/// The URL of a file in a missing folder with a space in its name.
fn file(folder: &Path) -> String {
    format!("sqlite:{}/new folder/words.db", folder.display())
}

async fn add(database: &Database, word: &str) -> Result<(), sqlx::Error> {
    let mut write = database.write().await?;
    let insert = sqlx::query("INSERT INTO words (word) VALUES ($1)").bind(word.to_owned());
    insert.execute(&mut *write).await?;
    write.commit().await
}

async fn number(database: &Database, query: &'static str) -> i64 {
    sqlx::query(query).fetch_one(database.reader()).await.unwrap().try_get(0).unwrap()
}

#[tokio::test]
async fn writes_succeed_after_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&file(folder.path()), &[FIRST]).await.unwrap();
    let mut write = database.write().await.unwrap();
    // For SQLite, a file that must not grow is a full disk.
    sqlx::query("PRAGMA max_page_count = 1").execute(&mut *write).await.unwrap();
    let insert = sqlx::query("INSERT INTO words (word) VALUES ($1)").bind("x".repeat(100_000));
    let error = insert.execute(&mut *write).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    drop(write);
    add(&database, "later").await.unwrap();
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 1);
    // So they do after a transaction that the caller gave up.
    drop(database.write().await.unwrap());
    add(&database, "last").await.unwrap();
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 2);
}

#[tokio::test]
async fn every_connection_has_the_durable_settings() {
    let folder = tempfile::tempdir().unwrap();
    let url = file(folder.path());
    let database = Database::open(&url, &[FIRST]).await.unwrap();
    // All connections at the same time.
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(database.reader().acquire().await.unwrap());
    }
    let mut writer = database.write().await.unwrap();
    let connections = connections.iter_mut().map(|connection| &mut **connection);
    for connection in connections.chain([&mut *writer]) {
        for (pragma, expected) in [
            ("SELECT synchronous FROM pragma_synchronous", "2"),
            ("SELECT foreign_keys FROM pragma_foreign_keys", "1"),
            ("SELECT timeout FROM pragma_busy_timeout", "5000"),
            ("SELECT journal_mode FROM pragma_journal_mode", "wal"),
        ] {
            let row = sqlx::query(pragma).fetch_one(&mut *connection).await.unwrap();
            let seen: String = row.try_get(0).unwrap_or_else(|_| row.get::<i64, _>(0).to_string());
            assert_eq!(seen, expected, "{pragma}");
        }
    }
}

async fn data_survives_and_migrations_apply_once(url: String) {
    let database = Database::open(&url, &[FIRST]).await.unwrap();
    add(&database, "one").await.unwrap();
    database.close().await;
    for _ in 0..2 {
        let database = Database::open(&url, &[FIRST, SECOND]).await.unwrap();
        assert_eq!(number(&database, "SELECT COUNT(*) FROM words WHERE length = 0").await, 1);
        database.close().await;
    }
}

#[tokio::test]
async fn url_with_two_slashes_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = file(folder.path());
    Database::open(&url, &[FIRST]).await.unwrap().close().await;
    let database = Database::open(&url.replace("sqlite:", "sqlite://"), &[FIRST]).await.unwrap();
    add(&database, "one").await.unwrap();
    database.close().await;
    let database = Database::open(&url, &[FIRST]).await.unwrap();
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 1);
}

#[tokio::test]
async fn path_of_a_file_is_literal() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a%20b?c#d", "100%", "%2e", "x@y://z", "'\"`", "mode=memory", ":memory:", "ö"];
    for name in names {
        let url = file(&folder.path().join(name));
        let database = Database::open(&url, &[FIRST]).await.unwrap();
        add(&database, "one").await.unwrap();
        database.close().await;
        assert!(folder.path().join(name).join("new folder/words.db").is_file(), "{name}");
    }
    // No other file was created.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), names.len());
}

#[tokio::test]
async fn options_after_a_path_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.db").display().to_string();
    for url in [format!("sqlite:{path}?mode=rwc"), format!("sqlite:{}/", folder.path().display())] {
        let error = Database::open(&url, &[FIRST]).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("`DATABASE_URL` is `{url}`")), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn postgresql_limits_statements_but_not_migrations() {
    let sql = "CREATE TABLE limits AS SELECT current_setting('statement_timeout') AS seen";
    let migrations = [migration(1, "limits", sql)];
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = TestServer::in_folder(folder.path(), &["words"]) else { return };
    let database = Database::open(&server.url("words"), &migrations).await.unwrap();
    for (query, expected) in
        [("SELECT seen FROM limits", "0"), ("SELECT current_setting('statement_timeout')", "10s")]
    {
        let seen = sqlx::query_scalar::<_, String>(query).fetch_one(database.reader()).await;
        assert_eq!(seen.unwrap(), expected, "{query}");
    }
}

#[tokio::test]
async fn silent_server_fails_the_start_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://app@{}/words", silent.local_addr().unwrap());
    let opened =
        timeout(TIMEOUT, Database::open(&url, &[FIRST])).await.expect("the start fails in time");
    let error = opened.unwrap_err().to_string();
    assert!(error.starts_with("failed to open the database `postgres://"), "{error}");
}

async fn changed_migration_is_an_error(url: String) {
    Database::open(&url, &[FIRST]).await.unwrap().close().await;
    let changed = migration(1, "words", "CREATE TABLE other (word TEXT)");
    let error = Database::open(&url, &[changed]).await.unwrap_err();
    assert!(error.to_string().starts_with("failed to migrate the database `"), "{error}");
}

async fn concurrent_writers_all_succeed(url: String) {
    let database = Database::open(&url, &[FIRST]).await.unwrap();
    let writers = (0..16).map(|writer| {
        let database = database.clone();
        tokio::spawn(async move {
            for number in 0..10 {
                add(&database, &format!("{writer}-{number}")).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 160);
}

#[tokio::test]
async fn readers_do_not_wait_for_queued_writers() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&file(folder.path()), &[FIRST]).await.unwrap();
    add(&database, "one").await.unwrap();
    let write = database.write().await.unwrap();
    let queue = (0..16).map(|writer| {
        let database = database.clone();
        tokio::spawn(async move { add(&database, &format!("{writer}")).await })
    });
    let queue: Vec<_> = queue.collect();
    // Every writer is polled before this thread continues.
    tokio::task::yield_now().await;
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 1);
    write.commit().await.unwrap();
    for writer in queue {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 17);
}

#[tokio::test]
async fn unfinished_write_does_not_block_close() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&file(folder.path()), &[FIRST]).await.unwrap();
    let write = database.write().await.unwrap();
    // It returns, although the connection is in use.
    database.close().await;
    drop(write);
}

async fn uniqueness_violation_is_a_conflict(url: String) {
    let database = Database::open(&url, &[FIRST]).await.unwrap();
    add(&database, "one").await.unwrap();
    assert!(is_conflict(&add(&database, "one").await.unwrap_err()));
    let failure = sqlx::query("SELECT * FROM nothing").execute(database.reader()).await;
    assert!(!is_conflict(&failure.unwrap_err()));
    // The failed write does not block the next one.
    add(&database, "two").await.unwrap();
}

async fn concurrent_opens_of_a_new_database_succeed(url: String) {
    let open = || {
        let url = url.clone();
        tokio::spawn(async move { Database::open(&url, &[FIRST, SECOND]).await.map(drop) })
    };
    for opened in [open(), open(), open(), open()] {
        opened.await.unwrap().unwrap();
    }
}

postgres_cluster::on_both_databases! {
    super::file;
    data_survives_and_migrations_apply_once,
    changed_migration_is_an_error,
    concurrent_writers_all_succeed,
    uniqueness_violation_is_a_conflict,
    concurrent_opens_of_a_new_database_succeed,
}
