//! One cluster in one folder: creates it with its databases, and builds the command that serves it.
//!
//! A cluster is created next to its folder and renamed when it is complete, so the folder always
//! contains a complete cluster. Over TCP only the role `app` can connect, and it owns the databases
//! and nothing else. No running server is used here.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::account::{Account, Role};
use crate::error::ClusterError;
use crate::programs::Programs;

/// The allowed connections. The first line is for tests, which use a socket in the cluster's
/// folder: a process that can reach it can also read the files.
fn hba_conf(password: Option<&str>) -> String {
    let method = password.map_or("trust", |_| "scram-sha-256");
    format!(
        "# TYPE  DATABASE  USER  ADDRESS       METHOD\n\
         local   all       all                 trust\n\
         host    all       app   127.0.0.1/32  {method}\n\
         host    all       app   ::1/128       {method}\n"
    )
}

/// The file in the cluster's folder with the password that the role `app` has. Only the account
/// can read the folder.
const PASSWORD_FILE: &str = "app.password";

/// The file in the cluster's folder that lists the created databases.
const DATABASES_FILE: &str = "databases.made";

/// The file with the major version of a cluster; PostgreSQL writes it.
const VERSION_FILE: &str = "PG_VERSION";

/// The folder of a cluster, which may not be created yet.
#[derive(Clone, Debug)]
pub struct Cluster {
    folder: PathBuf,
    account: Account,
}

/// What [`Cluster::create`] created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// The cluster and its databases.
    Cluster {
        /// PostgreSQL's major version.
        version: u32,
    },
    /// These databases.
    Databases(Vec<String>),
    /// Nothing: the cluster was complete.
    Nothing,
}

/// Whether a new cluster is flushed to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives a crash of the machine.
    Synced,
    /// It does not have to: it belongs to a test.
    Unsynced,
}

impl Cluster {
    /// The cluster in `folder`; nothing is created yet.
    ///
    /// # Errors
    /// When the caller is root and there is no other account.
    pub fn at(folder: impl Into<PathBuf>) -> Result<Self, ClusterError> {
        Ok(Self { folder: folder.into(), account: Account::choose()? })
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates what is missing: the cluster, the role `app` with this password, and these
    /// databases, owned by `app`. Without a password, `app` connects without one. Adding databases
    /// and changing the password fail while the cluster is served.
    ///
    /// # Errors
    /// When a program is missing or fails, or the folder cannot be written. The folder never
    /// contains an incomplete cluster.
    pub fn create(
        &self,
        databases: &[&str],
        password: Option<&str>,
        durability: Durability,
    ) -> Result<Created, ClusterError> {
        for name in databases {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(allowed) {
                return Err(ClusterError::Name((*name).to_owned()));
            }
        }
        if !self.folder.join(VERSION_FILE).exists() {
            return self.create_all(databases, password, durability);
        }
        let programs = Programs::find(Some(self.version()?))?;
        self.change_password(&programs, password, durability)?;
        // The file saves the start of `postgres`; the cluster's catalog is authoritative.
        if missing(databases, &self.listed()?).is_empty() {
            return Ok(Created::Nothing);
        }
        let existing = self.databases(&programs)?;
        let added = missing(databases, &existing);
        if added.is_empty() {
            self.list(&self.folder, &existing)?;
            return Ok(Created::Nothing);
        }
        self.create_databases(&programs, &self.folder, "", &added, durability)?;
        self.list(&self.folder, &[existing, added.clone()].concat())?;
        Ok(Created::Databases(added))
    }

    /// The command that serves the cluster at `host` and `port`, to be run with `exec`.
    ///
    /// # Errors
    /// When there is no cluster, or the version of PostgreSQL that created it is not installed.
    pub fn serve(&self, host: &str, port: u16) -> Result<Command, ClusterError> {
        let mut set = vec![
            format!("listen_addresses={host}"),
            format!("port={port}"),
            // TCP only.
            "unix_socket_directories=".to_owned(),
        ];
        if cfg!(target_os = "linux") && self.version()? >= 14 {
            // Faster crash recovery: one system call instead of one per file.
            set.push("recovery_init_sync_method=syncfs".to_owned());
        }
        self.server(Role::Exec, &set)
    }

    /// The command that runs the server with these settings.
    pub(crate) fn server(&self, role: Role, set: &[String]) -> Result<Command, ClusterError> {
        let programs = Programs::find(Some(self.version()?))?;
        let mut command = self.account.command(programs.path("postgres"), role);
        self.add_folder(&mut command, &self.folder)?;
        command.args(set.iter().flat_map(|setting| ["-c", setting]));
        command.stdin(Stdio::null());
        Ok(command)
    }

    fn create_all(
        &self,
        databases: &[&str],
        password: Option<&str>,
        durability: Durability,
    ) -> Result<Created, ClusterError> {
        let programs = Programs::find(None)?;
        let unfinished = self.unfinished();
        self.start_over(&unfinished)?;
        let mut initdb = self.account.command(programs.path("initdb"), Role::Child(Signal::KILL));
        self.add_folder(&mut initdb, &unfinished)?;
        // Locale C compares text by bytes, as SQLite does, and has the messages that probes match.
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth=trust"]);
        initdb.arg("--no-sync");
        run(initdb, "initdb", "")?;
        self.write(&unfinished, "pg_hba.conf", &hba_conf(password))?;
        self.write(&unfinished, PASSWORD_FILE, password.unwrap_or_default())?;
        // Not synced yet: an incomplete cluster is discarded anyway.
        let role = format!("CREATE ROLE app LOGIN {};\n", password_clause(password));
        let databases = missing(databases, &[]);
        self.create_databases(&programs, &unfinished, &role, &databases, Durability::Unsynced)?;
        self.list(&unfinished, &databases)?;
        if durability == Durability::Synced {
            self.sync(&programs, &unfinished)?;
        }
        fs::rename(&unfinished, &self.folder).map_err(ClusterError::file("rename", &unfinished))?;
        Ok(Created::Cluster { version: programs.version() })
    }

    /// Changes the password of the role `app`, unless it has this one.
    fn change_password(
        &self,
        programs: &Programs,
        password: Option<&str>,
        durability: Durability,
    ) -> Result<(), ClusterError> {
        let known = self.folder.join(PASSWORD_FILE).exists();
        let before = if known { self.read(PASSWORD_FILE)? } else { String::new() };
        if before == password.unwrap_or_default() {
            return Ok(());
        }
        let change = format!("ALTER ROLE app {};\n", password_clause(password));
        self.query(programs, &self.folder, &change, durability)?;
        self.write(&self.folder, "pg_hba.conf", &hba_conf(password))?;
        // The last step: a killed run is repeated.
        self.write(&self.folder, PASSWORD_FILE, password.unwrap_or_default())
    }

    /// Creates databases in a cluster that is not served, after the statements `first`.
    fn create_databases(
        &self,
        programs: &Programs,
        folder: &Path,
        first: &str,
        databases: &[String],
        durability: Durability,
    ) -> Result<(), ClusterError> {
        let create =
            databases.iter().map(|name| format!("CREATE DATABASE \"{name}\" OWNER app;\n"));
        let statements = first.to_owned() + &create.collect::<String>();
        self.query(programs, folder, &statements, durability).map(drop)
    }

    /// The databases of the cluster, which must not be served.
    fn databases(&self, programs: &Programs) -> Result<Vec<String>, ClusterError> {
        let statement = "SELECT datname FROM pg_database;\n";
        let output = self.query(programs, &self.folder, statement, Durability::Synced)?;
        // One line per row: `1: datname = "todo" (typeid = 19, len = 64, typmod = -1, byval = f)`.
        let names = output.lines().filter_map(|line| {
            let (_, rest) = line.split_once(": datname = \"")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        Ok(names.collect())
    }

    /// Runs statements in a cluster that is not served, and returns their output.
    fn query(
        &self,
        programs: &Programs,
        folder: &Path,
        statements: &str,
        durability: Durability,
    ) -> Result<String, ClusterError> {
        let program = programs.path("postgres");
        let mut single = self.account.command(program, Role::Child(Signal::KILL));
        single.arg("--single");
        self.add_folder(&mut single, folder)?;
        let fsync = match durability {
            Durability::Synced => "fsync=on",
            Durability::Unsynced => "fsync=off",
        };
        single.args(["-c", "exit_on_error=on", "-c", fsync]);
        // PostgreSQL 13 has another default.
        single.args(["-c", "password_encryption=scram-sha-256", "postgres"]);
        run(single, "postgres --single", statements)
    }

    /// The databases in [`DATABASES_FILE`]; empty if there is no such file.
    fn listed(&self) -> Result<Vec<String>, ClusterError> {
        if !self.folder.join(DATABASES_FILE).exists() {
            return Ok(Vec::new());
        }
        Ok(self.read(DATABASES_FILE)?.lines().map(str::to_owned).collect())
    }

    fn list(&self, folder: &Path, databases: &[String]) -> Result<(), ClusterError> {
        self.write(folder, DATABASES_FILE, &(databases.join("\n") + "\n"))
    }

    /// Flushes the file system of the cluster. One call takes a fraction of a second; a call for
    /// each of its thousand files takes several.
    #[cfg(target_os = "linux")]
    fn sync(&self, _: &Programs, folder: &Path) -> Result<(), ClusterError> {
        let sync = || Ok(rustix::fs::syncfs(fs::File::open(folder)?)?);
        sync().map_err(ClusterError::file("flush", folder))
    }

    #[cfg(not(target_os = "linux"))]
    fn sync(&self, programs: &Programs, folder: &Path) -> Result<(), ClusterError> {
        let mut sync = self.account.command(programs.path("initdb"), Role::Child(Signal::KILL));
        self.add_folder(&mut sync, folder)?;
        sync.arg("--sync-only");
        run(sync, "initdb", "").map(drop)
    }

    /// Creates an empty folder next to the cluster's, and removes that of a killed run.
    fn start_over(&self, unfinished: &Path) -> Result<(), ClusterError> {
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent).map_err(ClusterError::file("create the folder", parent))?;
        }
        if unfinished.exists() {
            fs::remove_dir_all(unfinished).map_err(ClusterError::file("remove", unfinished))?;
        }
        let created = self.account.create_folder(unfinished);
        created.map_err(ClusterError::file("create the folder", unfinished))
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = self.folder.clone().into_os_string();
        name.push(".unfinished");
        name.into()
    }

    /// Adds the folder to the arguments of a program that runs as the account.
    fn add_folder(&self, command: &mut Command, folder: &Path) -> Result<(), ClusterError> {
        let path = self.accessible(command, folder);
        command.arg("-D").arg(path.map_err(ClusterError::file("open", folder))?);
        Ok(())
    }

    /// A path to the folder for the account. Another account may have no access to a parent folder,
    /// such as root's home. So this opens the folder, and the program reaches it through the
    /// inherited descriptor.
    #[cfg(target_os = "linux")]
    fn accessible(&self, command: &mut Command, folder: &Path) -> io::Result<OsString> {
        use rustix::fs::{Mode, OFlags, open};
        use rustix::io::{FdFlags, fcntl_setfd};
        use std::os::fd::AsRawFd as _;
        use std::os::unix::process::CommandExt as _;

        if self.account == Account::Own {
            return Ok(folder.as_os_str().to_owned());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened: OwnedFd = open(folder, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
        // SAFETY: the closure makes one system call, which is allowed between fork and exec.
        unsafe { command.pre_exec(move || Ok(fcntl_setfd(&opened, FdFlags::empty())?)) };
        Ok(path.into())
    }

    #[cfg(not(target_os = "linux"))]
    fn accessible(&self, _: &mut Command, folder: &Path) -> io::Result<OsString> {
        Ok(folder.as_os_str().to_owned())
    }

    /// The major version that created the cluster.
    fn version(&self) -> Result<u32, ClusterError> {
        if !self.folder.join(VERSION_FILE).exists() {
            return Err(ClusterError::Missing(self.folder.clone()));
        }
        self.read(VERSION_FILE)?.trim().parse().map_err(|_| {
            let path = self.folder.join(VERSION_FILE);
            ClusterError::file("parse", &path)(io::ErrorKind::InvalidData.into())
        })
    }

    fn read(&self, name: &str) -> Result<String, ClusterError> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(ClusterError::file("read", &path))
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
        write().map_err(ClusterError::file("write", &path))
    }
}

/// The end of a statement about a role.
fn password_clause(password: Option<&str>) -> String {
    match password {
        Some(password) => format!("PASSWORD '{}'", password.replace('\'', "''")),
        None => "PASSWORD NULL".to_owned(),
    }
}

/// The databases that do not exist yet, each once.
fn missing(databases: &[&str], existing: &[String]) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    for name in databases {
        if !existing.iter().chain(&missing).any(|known| known == name) {
            missing.push((*name).to_owned());
        }
    }
    missing
}

/// Runs a program with this input and returns its standard output.
fn run(mut command: Command, program: &'static str, input: &str) -> Result<String, ClusterError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = |source| ClusterError::Start { program, source };
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input reports the reason on standard error.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let stderr = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(ClusterError::Failed { program, status: output.status, stderr })
}
