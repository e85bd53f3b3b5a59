//! The database as services get it: on disk, safe, up to date, and patient with writers.
//!
//! What happens when a server goes away and comes back each service tests itself.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use kit::Database;
use kit::database::{Engine, Migration, is_taken};
use postgres_cluster::lend::Lent;
use sqlx::Row as _;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

const FIRST: Migration = Migration {
    version: 1,
    description: "words",
    sql: "CREATE TABLE words (word TEXT NOT NULL UNIQUE); CREATE INDEX by_word ON words (word);",
};

fn first(_: Engine) -> &'static [Migration] {
    &[FIRST]
}

fn both(_: Engine) -> &'static [Migration] {
    const SECOND: Migration = Migration {
        version: 2,
        description: "lengths",
        sql: "ALTER TABLE words ADD COLUMN length INTEGER NOT NULL DEFAULT 0",
    };
    &[FIRST, SECOND]
}

fn changed(_: Engine) -> &'static [Migration] {
    &[Migration { sql: "CREATE TABLE other (word TEXT)", ..FIRST }]
}

/// A file in a folder that does not exist yet, with a space in its name.
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
async fn every_connection_is_safe_against_the_end_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let url = file(folder.path());
    let database = Database::open(&url, first).await.unwrap();
    // All connections, at the same time.
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

async fn what_was_written_is_there_again_and_new_migrations_are_applied_once(url: String) {
    let database = Database::open(&url, first).await.unwrap();
    add(&database, "one").await.unwrap();
    database.close().await;
    for _ in 0..2 {
        let database = Database::open(&url, both).await.unwrap();
        assert_eq!(number(&database, "SELECT COUNT(*) FROM words WHERE length = 0").await, 1);
        database.close().await;
    }
}

#[tokio::test]
async fn an_address_with_two_slashes_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = file(folder.path());
    Database::open(&url, first).await.unwrap().close().await;
    let database = Database::open(&url.replace("sqlite:", "sqlite://"), first).await.unwrap();
    add(&database, "one").await.unwrap();
    database.close().await;
    let database = Database::open(&url, first).await.unwrap();
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 1);
}

#[tokio::test]
async fn the_path_of_a_file_is_taken_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a%20b?c#d", "100%", "%2e", "x@y://z", "'\"`", "mode=memory", ":memory:", "ö"];
    for name in names {
        let url = file(&folder.path().join(name));
        let database = Database::open(&url, first).await.unwrap();
        add(&database, "one").await.unwrap();
        database.close().await;
        assert!(folder.path().join(name).join("new folder/words.db").is_file(), "{name}");
    }
    // And nothing lies beside them.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), names.len());
}

#[tokio::test]
async fn options_after_the_path_of_a_file_are_refused_and_make_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.db").display().to_string();
    for url in [format!("sqlite:{path}?mode=rwc"), format!("sqlite:{}/", folder.path().display())] {
        let error = Database::open(&url, first).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("`DATABASE_URL` is `{url}`")), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn on_postgresql_statements_end_in_time_and_migrations_take_theirs() {
    let migrations = |_| -> &'static [Migration] {
        const SQL: &str =
            "CREATE TABLE limits AS SELECT current_setting('statement_timeout') AS seen";
        &[Migration { sql: SQL, ..FIRST }]
    };
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Lent::in_folder(folder.path(), &["words"]) else { return };
    let database = Database::open(&server.url("words"), migrations).await.unwrap();
    for (query, expected) in
        [("SELECT seen FROM limits", "0"), ("SELECT current_setting('statement_timeout')", "10s")]
    {
        let seen = sqlx::query_scalar::<_, String>(query).fetch_one(database.reader()).await;
        assert_eq!(seen.unwrap(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up_at_the_start() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://app@{}/words", silent.local_addr().unwrap());
    let opened = timeout(PATIENCE, Database::open(&url, first)).await.expect("it ends");
    let error = opened.unwrap_err().to_string();
    assert!(error.starts_with("opening the database `postgres://"), "{error}");
}

async fn a_migration_that_was_changed_after_it_was_applied_is_an_error(url: String) {
    Database::open(&url, first).await.unwrap().close().await;
    let error = Database::open(&url, changed).await.unwrap_err();
    assert!(error.to_string().starts_with("bringing the tables of `"), "{error}");
}

async fn writers_queue_and_none_is_refused_or_lost(url: String) {
    let database = Database::open(&url, first).await.unwrap();
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
async fn readers_do_not_wait_for_writers_that_queue() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&file(folder.path()), first).await.unwrap();
    add(&database, "one").await.unwrap();
    let write = database.write().await.unwrap();
    let queue = (0..16).map(|writer| {
        let database = database.clone();
        tokio::spawn(async move { add(&database, &format!("{writer}")).await })
    });
    let queue: Vec<_> = queue.collect();
    // Each of them is polled before this goes on.
    tokio::task::yield_now().await;
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 1);
    write.commit().await.unwrap();
    for writer in queue {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(number(&database, "SELECT COUNT(*) FROM words").await, 17);
}

#[tokio::test]
async fn a_write_that_does_not_end_holds_up_no_stop() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&file(folder.path()), first).await.unwrap();
    let write = database.write().await.unwrap();
    // It ends at all, though the connection is in use for as long as this test lasts.
    database.close().await;
    drop(write);
}

async fn a_second_one_of_what_is_unique_is_told_apart_from_other_failures(url: String) {
    let database = Database::open(&url, first).await.unwrap();
    add(&database, "one").await.unwrap();
    assert!(is_taken(&add(&database, "one").await.unwrap_err()));
    let failure = sqlx::query("SELECT * FROM nothing").execute(database.reader()).await;
    assert!(!is_taken(&failure.unwrap_err()));
    // The failed write has left nothing behind that would hold up the next one.
    add(&database, "two").await.unwrap();
}

async fn two_programs_that_open_a_new_database_at_once_both_succeed(url: String) {
    let open = || {
        let url = url.clone();
        tokio::spawn(async move { Database::open(&url, both).await.map(drop) })
    };
    for opened in [open(), open(), open(), open()] {
        opened.await.unwrap().unwrap();
    }
}

postgres_cluster::on_both_databases! {
    super::file;
    what_was_written_is_there_again_and_new_migrations_are_applied_once,
    a_migration_that_was_changed_after_it_was_applied_is_an_error,
    writers_queue_and_none_is_refused_or_lost,
    a_second_one_of_what_is_unique_is_told_apart_from_other_failures,
    two_programs_that_open_a_new_database_at_once_both_succeed,
}
