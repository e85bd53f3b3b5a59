//! A server that is lent to a test: in a folder of the test's, on no port, gone with it.
//!
//! It listens on a socket in its own folder, so that tests at once cannot take each other's
//! address. What is stored there is lost when the machine goes down.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Life;
use crate::cluster::{Cluster, ClusterError, Durability};
use crate::programs::ProgramsError;

/// Makes tests of scenarios, functions that take the address of an empty database: each scenario
/// on SQLite as a test by its name, and all of them, one after the other, on one PostgreSQL. The
/// first argument is a function from an empty folder to the address for SQLite. The caller's
/// package needs `tempfile` and `tokio`.
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
        async fn every_scenario_ends_on_postgresql_as_on_sqlite() {
            let folder = ::tempfile::tempdir().expect("a temporary folder");
            // A name of a database may have 63 letters.
            let names = [$(&stringify!($scenario)[..stringify!($scenario).len().min(63)]),*];
            let Some(server) = $crate::lend::Lent::in_folder(folder.path(), &names) else { return };
            let mut urls = names.iter().map(|name| server.url(name));
            $(
                eprintln!("on PostgreSQL: {}", stringify!($scenario));
                $scenario(urls.next().expect("one for each scenario")).await;
            )*
        }
    };
}

/// No wait for the server is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the server says when it accepts connections.
const READY: &str = "database system is ready to accept connections";

/// A cluster with a server that the test starts, stops and kills as it likes. It is killed when
/// this value is dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct Lent {
    cluster: Cluster,
    server: Option<Child>,
}

impl Lent {
    /// A cluster with these databases in `folder`, and its server. `None`, and a word on standard
    /// error, where PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it is installed and does not work.
    #[must_use]
    pub fn in_folder(folder: &Path, databases: &[&str]) -> Option<Self> {
        let cluster = Cluster::at(folder.join("cluster"));
        let made = cluster.and_then(|cluster| {
            cluster.make(databases, Durability::Fleeting)?;
            Ok(cluster)
        });
        match made {
            Ok(cluster) => {
                let mut lent = Self { cluster, server: None };
                lent.start();
                Some(lent)
            }
            Err(ClusterError::Programs(ProgramsError::Missing)) => {
                skipped();
                None
            }
            Err(error) => panic!("making a cluster: {error:?}"),
        }
    }

    /// The address of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let folder = self.cluster.folder().display().to_string();
        format!("postgres://app@localhost/{database}?host={}", folder.replace(' ', "%20"))
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        // The processes of one that was killed hold the cluster until they have noticed.
        while let Err(said) = self.try_start() {
            let is_held = said.contains("is still in use") || said.contains("already exists");
            assert!(is_held && Instant::now() < deadline, "the server does not start: {said}");
        }
    }

    /// Stops the server in order; transactions are ended.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Kills the server; its processes notice and end.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Sends a signal to the server's first process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let server = self.server.as_ref().expect("the server was started");
        kill_process(Pid::from_child(server), signal).expect("it was not waited for");
    }

    fn try_start(&mut self) -> Result<(), String> {
        let settings = ["listen_addresses=", "unix_socket_directories=.", "fsync=off"];
        let settings = settings.map(str::to_owned);
        let server = self.cluster.server(Life::Until(Signal::QUIT), &settings);
        let mut server = server.expect("the cluster was made");
        server.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = server.spawn().expect("the program was found");
        let lines = read(child.stderr.take().expect("it is piped"));
        let mut said = Vec::new();
        // Its lines end with it, but for those of processes that it leaves behind.
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            if line.contains(READY) {
                self.server = Some(child);
                return Ok(());
            }
            said.push(line);
        }
        child.kill().ok();
        child.wait().ok();
        Err(said.join("\n"))
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            kill_process(Pid::from_child(&server), signal).ok();
            server.wait().ok();
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Nothing that it holds is wanted any more, but its processes must be gone before the
        // folder is: so it ends them itself.
        self.end(Signal::QUIT);
    }
}

/// The lines that a server says, which must be read as long as it lives.
fn read(stderr: ChildStderr) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    lines
}

/// Says that the test is skipped for want of PostgreSQL, on standard error and as a line of the
/// file that `SKIPPED_TESTS` names: runners do not show what tests say that pass.
///
/// `xtask_client::harness::skipped` writes the same line. Services have no edge to the tool, so
/// it stands here too; a change of one is a change of the other.
///
/// # Panics
/// When that file cannot be written.
pub fn skipped() {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("skipped for want of PostgreSQL: {test}");
    if let Some(file) = std::env::var_os("SKIPPED_TESTS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        let written = file.and_then(|mut file| writeln!(file, "PostgreSQL\t{test}"));
        written.expect("the file of skipped tests can be written");
    }
}
