//! One cluster in one folder: making it with its databases, and the command that serves it.
//!
//! A cluster is made beside its place and moved there when it is complete, so that what is in the
//! place can always be served. Nobody but the role `app` is let in over the network, and that
//! role owns the databases and nothing else. No server is asked anything here.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::Signal;

use crate::account::{Account, AccountError, Life};
use crate::programs::{Programs, ProgramsError};

/// Who may connect, and how. The first kind is for tests, which open a socket in the cluster's
/// own folder: whoever can reach that may read the files as well.
const WHO_MAY_CONNECT: &str = "\
# TYPE  DATABASE  USER  ADDRESS       METHOD
local   all       all                 trust
host    all       app   127.0.0.1/32  trust
host    all       app   ::1/128       trust
";

/// The file, in the cluster's folder, that names the databases that were made.
const MADE: &str = "databases.made";

/// The file in which PostgreSQL keeps the major version of a cluster.
const VERSION: &str = "PG_VERSION";

/// A folder that holds a cluster, or will.
#[derive(Clone, Debug)]
pub struct Cluster {
    folder: PathBuf,
    account: Account,
}

/// What making a cluster came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// There was none.
    Cluster {
        /// PostgreSQL's major version.
        version: u32,
    },
    /// It lacked these databases.
    Databases(Vec<String>),
    /// Everything was there.
    Nothing,
}

/// Whether a new cluster is on the disk when it is said to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives the machine.
    Synced,
    /// It is for a test and need not.
    Fleeting,
}

/// Why there is no cluster, or it cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The programs are missing.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// The caller is root, and there is no other account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A name that cannot be a database's.
    #[error("`{0}` cannot be the name of a database, expected letters, digits, `-` and `_`")]
    Name(String),
    /// The folder or a file in it cannot be made or read.
    #[error("{doing} `{}`", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no cluster in the folder.
    #[error("there is no cluster in `{}`\nhint: make it: `postgres-cluster make FOLDER`", .0.display())]
    NotMade(PathBuf),
    /// A program cannot be started.
    #[error("starting `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{program}` ended with {status}: {said}")]
    Failed {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last that it said.
        said: String,
    },
}

impl Cluster {
    /// The cluster in this folder; nothing is made yet.
    ///
    /// # Errors
    /// When the caller is root and there is no other account.
    pub fn at(folder: impl Into<PathBuf>) -> Result<Self, ClusterError> {
        Ok(Self { folder: folder.into(), account: Account::choose()? })
    }

    /// The cluster's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes what is not there: the cluster, the role `app`, and these databases, owned by it.
    /// To add databases to a cluster it must not be served.
    ///
    /// # Errors
    /// When a program is missing or fails, or the folder cannot be written. Half a cluster is
    /// never left in the folder.
    pub fn make(&self, databases: &[&str], durability: Durability) -> Result<Made, ClusterError> {
        for name in databases {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(allowed) {
                return Err(ClusterError::Name((*name).to_owned()));
            }
        }
        if !self.folder.join(VERSION).exists() {
            return self.make_all(databases, durability);
        }
        let programs = Programs::find(Some(self.version()?))?;
        // The note only saves the start of a program; what is there the cluster itself knows.
        if lacking(databases, &self.noted()?).is_empty() {
            return Ok(Made::Nothing);
        }
        let there = self.databases(&programs)?;
        let missing = lacking(databases, &there);
        if missing.is_empty() {
            self.note(&self.folder, &there)?;
            return Ok(Made::Nothing);
        }
        self.make_databases(&programs, &self.folder, "", &missing, durability)?;
        self.note(&self.folder, &[there, missing.clone()].concat())?;
        Ok(Made::Databases(missing))
    }

    /// The command that serves the cluster at `host` and `port`, and takes this process' place
    /// by `exec`.
    ///
    /// # Errors
    /// When there is no cluster, or not the version of PostgreSQL that made it.
    pub fn serve(&self, host: &str, port: u16) -> Result<Command, ClusterError> {
        let mut set = vec![
            format!("listen_addresses={host}"),
            format!("port={port}"),
            // Nobody is to find it by a file.
            "unix_socket_directories=".to_owned(),
        ];
        if cfg!(target_os = "linux") && self.version()? >= 14 {
            // After a kill it has to be up again soon: one call instead of one a file.
            set.push("recovery_init_sync_method=syncfs".to_owned());
        }
        self.server(Life::InOurPlace, &set)
    }

    /// The command that runs the server with these settings.
    pub(crate) fn server(&self, life: Life, set: &[String]) -> Result<Command, ClusterError> {
        let programs = Programs::find(Some(self.version()?))?;
        let mut command = self.account.command(programs.path("postgres"), life);
        self.add_folder(&mut command, &self.folder)?;
        command.args(set.iter().flat_map(|setting| ["-c", setting]));
        command.stdin(Stdio::null());
        Ok(command)
    }

    fn make_all(&self, databases: &[&str], durability: Durability) -> Result<Made, ClusterError> {
        let programs = Programs::find(None)?;
        let unfinished = self.unfinished();
        self.start_over(&unfinished)?;
        let mut initdb = self.account.command(programs.path("initdb"), Life::Until(Signal::KILL));
        self.add_folder(&mut initdb, &unfinished)?;
        // Text is compared by its bytes, as SQLite does it; messages are those that are waited for.
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth=trust"]);
        initdb.arg("--no-sync");
        run(initdb, "initdb", "")?;
        self.write(&unfinished, "pg_hba.conf", WHO_MAY_CONNECT)?;
        // Nothing is synced on the way: it is of no use before it is complete.
        let role = "CREATE ROLE app LOGIN;\n";
        let databases = lacking(databases, &[]);
        self.make_databases(&programs, &unfinished, role, &databases, Durability::Fleeting)?;
        self.note(&unfinished, &databases)?;
        if durability == Durability::Synced {
            self.sync(&programs, &unfinished)?;
        }
        fs::rename(&unfinished, &self.folder).map_err(|source| ClusterError::File {
            doing: "moving into its place the cluster",
            path: unfinished,
            source,
        })?;
        Ok(Made::Cluster { version: programs.version() })
    }

    /// Makes databases in a cluster that is not served. None is ever dropped.
    fn make_databases(
        &self,
        programs: &Programs,
        folder: &Path,
        first: &str,
        databases: &[String],
        durability: Durability,
    ) -> Result<(), ClusterError> {
        let mut statements = first.to_owned();
        for name in databases {
            statements.push_str(&format!("CREATE DATABASE \"{name}\" OWNER app;\n"));
        }
        self.ask(programs, folder, &statements, durability).map(drop)
    }

    /// The databases that a cluster has that is not served.
    fn databases(&self, programs: &Programs) -> Result<Vec<String>, ClusterError> {
        let statement = "SELECT datname FROM pg_database;\n";
        let said = self.ask(programs, &self.folder, statement, Durability::Synced)?;
        // A line a row: `1: datname = "todo" (typeid = 19, len = 64, typmod = -1, byval = f)`.
        let names = said.lines().filter_map(|line| {
            let (_, rest) = line.split_once(": datname = \"")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        Ok(names.collect())
    }

    /// Runs statements in a cluster that is not served, and answers what they print.
    fn ask(
        &self,
        programs: &Programs,
        folder: &Path,
        statements: &str,
        durability: Durability,
    ) -> Result<String, ClusterError> {
        let program = programs.path("postgres");
        let mut single = self.account.command(program, Life::Until(Signal::KILL));
        single.arg("--single");
        self.add_folder(&mut single, folder)?;
        let fsync = match durability {
            Durability::Synced => "fsync=on",
            Durability::Fleeting => "fsync=off",
        };
        single.args(["-c", "exit_on_error=on", "-c", fsync, "postgres"]);
        run(single, "postgres --single", statements)
    }

    /// The databases that are noted as made; none where there is no note.
    fn noted(&self) -> Result<Vec<String>, ClusterError> {
        match fs::read_to_string(self.folder.join(MADE)) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => {
                let path = self.folder.join(MADE);
                Err(ClusterError::File { doing: "reading", path, source })
            }
        }
    }

    fn note(&self, folder: &Path, databases: &[String]) -> Result<(), ClusterError> {
        self.write(folder, MADE, &(databases.join("\n") + "\n"))
    }

    /// Brings a whole cluster to the disk, with the file system that it lies in: one call takes a
    /// fraction of a second, where a call for each of its thousand files takes some.
    #[cfg(target_os = "linux")]
    fn sync(&self, _: &Programs, folder: &Path) -> Result<(), ClusterError> {
        let sync = || Ok(rustix::fs::syncfs(fs::File::open(folder)?)?);
        sync().map_err(|source| ClusterError::File {
            doing: "bringing to the disk",
            path: folder.to_owned(),
            source,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn sync(&self, programs: &Programs, folder: &Path) -> Result<(), ClusterError> {
        let mut sync = self.account.command(programs.path("initdb"), Life::Until(Signal::KILL));
        self.add_folder(&mut sync, folder)?;
        sync.arg("--sync-only");
        run(sync, "initdb", "").map(drop)
    }

    /// An empty folder beside the cluster's place; one that is there is of a run that was killed.
    fn start_over(&self, unfinished: &Path) -> Result<(), ClusterError> {
        let file = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| ClusterError::File { doing, path, source }
        };
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent).map_err(file("making the folder", parent))?;
        }
        if unfinished.exists() {
            fs::remove_dir_all(unfinished).map_err(file("removing the unfinished", unfinished))?;
        }
        self.account.make_folder(unfinished).map_err(file("making the folder", unfinished))
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = self.folder.clone().into_os_string();
        name.push(".unfinished");
        name.into()
    }

    /// Names the folder to a program that runs as the account.
    fn add_folder(&self, command: &mut Command, folder: &Path) -> Result<(), ClusterError> {
        let seen = self.as_seen(command, folder).map_err(|source| ClusterError::File {
            doing: "opening the cluster's folder",
            path: folder.to_owned(),
            source,
        })?;
        command.arg("-D").arg(seen);
        Ok(())
    }

    /// The folder as the account sees it. Another account may be kept out of a folder above, such
    /// as root's home; so the folder is opened here and reached through its descriptor, which the
    /// program and its children inherit. They need no more right than to the folder itself.
    #[cfg(target_os = "linux")]
    fn as_seen(&self, command: &mut Command, folder: &Path) -> io::Result<OsString> {
        use rustix::fs::{Mode, OFlags, open};
        use rustix::io::{FdFlags, fcntl_setfd};
        use std::os::fd::AsRawFd as _;
        use std::os::unix::process::CommandExt as _;

        if self.account == Account::Own {
            return Ok(folder.as_os_str().to_owned());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened: OwnedFd = open(folder, flags, Mode::empty())?;
        let seen = format!("/proc/self/fd/{}", opened.as_raw_fd());
        // SAFETY: a system call, which may be made between fork and exec.
        unsafe { command.pre_exec(move || Ok(fcntl_setfd(&opened, FdFlags::empty())?)) };
        Ok(seen.into())
    }

    #[cfg(not(target_os = "linux"))]
    fn as_seen(&self, _: &mut Command, folder: &Path) -> io::Result<OsString> {
        Ok(folder.as_os_str().to_owned())
    }

    /// The major version that made the cluster.
    fn version(&self) -> Result<u32, ClusterError> {
        if !self.folder.join(VERSION).exists() {
            return Err(ClusterError::NotMade(self.folder.clone()));
        }
        self.read(VERSION)?.trim().parse().map_err(|_| ClusterError::File {
            doing: "finding a number in",
            path: self.folder.join(VERSION),
            source: io::ErrorKind::InvalidData.into(),
        })
    }

    fn read(&self, name: &str) -> Result<String, ClusterError> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(|source| ClusterError::File {
            doing: "reading",
            path,
            source,
        })
    }

    /// Writes a file that the account owns.
    fn write(&self, folder: &Path, name: &str, text: &str) -> Result<(), ClusterError> {
        let path = folder.join(name);
        let write = || {
            let mut file = fs::File::create(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            self.account.give(&path)
        };
        write().map_err(|source| ClusterError::File { doing: "writing", path, source })
    }
}

/// Those of these databases that are not there, each once.
fn lacking(databases: &[&str], there: &[String]) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    for name in databases {
        if !there.iter().chain(&missing).any(|known| known == name) {
            missing.push((*name).to_owned());
        }
    }
    missing
}

/// Runs a program to its end with this input, and answers what it printed.
fn run(mut command: Command, program: &'static str, input: &str) -> Result<String, ClusterError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = |source| ClusterError::Start { program: program.into(), source };
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read to the end says why itself.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(ClusterError::Failed { program, status: output.status, said })
}
