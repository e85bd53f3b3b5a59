//! A PostgreSQL server for one test, in the test's folder. It ends with the test.
//!
//! It listens on a socket in the cluster's folder, so concurrent tests need no ports. Its data is
//! not flushed to the disk.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Role;
use crate::cluster::{Cluster, Durability};
use crate::error::ClusterError;
use crate::programs::ProgramsError;

/// Makes tests from scenarios, which are functions of the URL of an empty database. On SQLite each
/// scenario is a test of its name. On PostgreSQL one test runs all of them in sequence. The first
/// argument is a function from an empty folder to the URL for SQLite. The caller's package needs
/// `tempfile` and `tokio`.
#[macro_export]
macro_rules! on_both_databases {
    ($sqlite:expr; $($scenario:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $scenario() {
                    let folder = ::tempfile::tempdir().expect("a temporary folder");
                    super::$scenario($sqlite(folder.path())).await;
                }
            )*
        }

        #[tokio::test]
        async fn scenarios_pass_on_postgresql() {
            let folder = ::tempfile::tempdir().expect("a temporary folder");
            // The name of a database has at most 63 bytes.
            let names = [$(&stringify!($scenario)[..stringify!($scenario).len().min(63)]),*];
            let Some(server) = $crate::test_server::TestServer::in_folder(folder.path(), &names) else { return };
            let mut urls = names.iter().map(|name| server.url(name));
            $(
                eprintln!("on PostgreSQL: {}", stringify!($scenario));
                $scenario(urls.next().expect("one URL per scenario")).await;
            )*
        }
    };
}

/// The timeout of every wait for the server.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The server's log message when it accepts connections.
const READY: &str = "database system is ready to accept connections";

/// A cluster and its server, which the test starts, stops and kills. The server is killed when this
/// value is dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct TestServer {
    cluster: Cluster,
    server: Option<Child>,
}

/// The server exited before it accepted connections.
struct EarlyExit {
    stderr: String,
}

impl TestServer {
    /// Creates a cluster with these databases in `folder` and starts its server. Without PostgreSQL
    /// it returns `None` and reports the test as skipped.
    ///
    /// # Panics
    /// When PostgreSQL is installed but fails.
    #[must_use]
    pub fn in_folder(folder: &Path, databases: &[&str]) -> Option<Self> {
        let cluster = Cluster::at(folder.join("cluster"));
        let created = cluster.and_then(|cluster| {
            cluster.create(databases, None, Durability::Unsynced)?;
            Ok(cluster)
        });
        match created {
            Ok(cluster) => {
                let mut server = Self { cluster, server: None };
                server.start();
                Some(server)
            }
            Err(ClusterError::Programs(ProgramsError::Missing)) => {
                skipped();
                None
            }
            Err(error) => panic!("failed to create a cluster: {error:?}"),
        }
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        let folder = self.cluster.folder().display().to_string();
        format!("postgres://app@localhost/{database}?host={}", folder.replace(' ', "%20"))
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Panics
    /// When it exits before that.
    pub fn start(&mut self) {
        let deadline = Instant::now() + TIMEOUT;
        // The children of a killed server keep the cluster locked until they notice.
        while let Err(EarlyExit { stderr }) = self.try_start() {
            let is_locked = stderr.contains("is still in use") || stderr.contains("already exists");
            assert!(is_locked && Instant::now() < deadline, "the server did not start: {stderr}");
        }
    }

    /// Stops the server cleanly, which aborts transactions.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Kills the server with SIGKILL; its children notice and exit.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Sends a signal to the server's main process.
    ///
    /// # Panics
    /// When it is not running.
    pub fn signal(&self, signal: Signal) {
        let server = self.server.as_ref().expect("the server is running");
        kill_process(Pid::from_child(server), signal).expect("the server is not reaped");
    }

    fn try_start(&mut self) -> Result<(), EarlyExit> {
        let settings = ["listen_addresses=", "unix_socket_directories=.", "fsync=off"];
        let settings = settings.map(str::to_owned);
        let server = self.cluster.server(Role::Child(Signal::QUIT), &settings);
        let mut server = server.expect("the cluster is complete");
        server.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = server.spawn().expect("the program was found");
        let lines = read(child.stderr.take().expect("it is piped"));
        let mut stderr = Vec::new();
        // The lines end when the server and its children have exited.
        while let Ok(line) = lines.recv_timeout(TIMEOUT) {
            if line.contains(READY) {
                self.server = Some(child);
                return Ok(());
            }
            stderr.push(line);
        }
        child.kill().ok();
        child.wait().ok();
        Err(EarlyExit { stderr: stderr.join("\n") })
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            kill_process(Pid::from_child(&server), signal).ok();
            server.wait().ok();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // SIGQUIT ends the children too, so they are gone before the folder is removed.
        self.end(Signal::QUIT);
    }
}

/// The lines of the server's standard error, read until it exits.
fn read(stderr: ChildStderr) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    lines
}

/// Reports that the test is skipped without PostgreSQL: on standard error, and as a line of the
/// file that `SKIPPED_TESTS` names, because runners hide the output of passing tests.
///
/// `xtask_client::harness::skipped` writes the same line. Services do not depend on the tool, so
/// change both together.
///
/// # Panics
/// When the file cannot be written.
pub fn skipped() {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("skipped without PostgreSQL: {test}");
    if let Some(file) = std::env::var_os("SKIPPED_TESTS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        let written = file.and_then(|mut file| writeln!(file, "PostgreSQL\t{test}"));
        written.expect("the file in `SKIPPED_TESTS` is writable");
    }
}
