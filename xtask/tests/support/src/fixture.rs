//! A workspace in a folder of its own, and the tool in it.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::package::PackageSpec;
use crate::processes::{self, Process};
use crate::run::{Ran, Running};
use crate::wait::within_a_second;

/// How long one run of the tool may take; builds beside other tests are slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long everything may take to be gone after `down`.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A generated workspace. Build it up, then [`write`](Self::write) it.
#[derive(Debug)]
pub struct Fixture {
    folder: Option<tempfile::TempDir>,
    base: PathBuf,
    /// Where state and sockets lie: `base`, or that of another fixture.
    shared: PathBuf,
    name: String,
    packages: Vec<PackageSpec>,
    workspace: String,
    stacks: Vec<String>,
    runs: Cell<u32>,
}

impl Fixture {
    /// An empty workspace in a folder of that name.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("xt-").tempdir().unwrap();
        // The tool may show the path without links in it.
        let base = fs::canonicalize(folder.path()).unwrap();
        Self {
            folder: Some(folder),
            shared: base.clone(),
            base,
            name: name.to_owned(),
            packages: Vec::new(),
            workspace: String::new(),
            stacks: vec!["dev".to_owned()],
            runs: Cell::new(0),
        }
    }

    /// Adds a package.
    pub fn package(mut self, package: PackageSpec) -> Self {
        self.packages.push(package);
        self
    }

    /// Adds lines to the root manifest: `[workspace.metadata.services.NAME]`, with
    /// their headers.
    pub fn workspace(mut self, toml: &str) -> Self {
        self.workspace.extend([toml, "\n"]);
        self
    }

    /// Says that the test uses a stack of that name, which is taken down at the end.
    pub fn stack(mut self, name: &str) -> Self {
        self.stacks.push(name.to_owned());
        self
    }

    /// Keeps state and sockets in the folders of another fixture, which must outlive this one.
    pub fn sharing(mut self, other: &Self) -> Self {
        self.shared.clone_from(&other.shared);
        self
    }

    /// Writes everything.
    pub fn write(self) -> Self {
        for folder in [self.root(), self.state(), self.runtime(), self.base.join("out")] {
            fs::create_dir_all(&folder).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let members: Vec<String> =
            self.packages.iter().map(|package| format!("{:?}", package.folder())).collect();
        let manifest = format!(
            "[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n\
             [profile.dev]\ndebug = false\nincremental = false\n\n{}",
            members.join(", "),
            self.workspace
        );
        self.file("Cargo.toml", &manifest);
        self.packages.iter().for_each(|package| package.write(&self.root()));
        self
    }

    /// Writes a file below the root.
    pub fn file(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a text that must be there in a file below the root.
    #[track_caller]
    pub fn edit(&self, path: &str, old: &str, new: &str) {
        let text = self.text(path);
        assert!(text.contains(old), "`{old}` is not in `{path}`:\n{text}");
        self.file(path, &text.replace(old, new));
    }

    /// The text of a file below the root.
    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// The workspace's root.
    pub fn root(&self) -> PathBuf {
        self.base.join(&self.name)
    }

    /// The state directory of this fixture's stacks.
    pub fn state(&self) -> PathBuf {
        self.shared.join("state")
    }

    /// A folder for the test's own files.
    pub fn out(&self) -> PathBuf {
        self.base.join("out")
    }

    fn runtime(&self) -> PathBuf {
        self.shared.join("run")
    }

    /// The tool in the root, with nothing in its environment but what it needs.
    pub fn command(&self) -> Command {
        let mut command = Command::new(crate::tool());
        command.current_dir(self.root()).env_clear();
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "XTASK_ENGINE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("XTASK_STATE_DIR", self.state()).env("XDG_RUNTIME_DIR", self.runtime());
        command.env("CARGO_NET_OFFLINE", "true");
        // As the launcher passes it on.
        command.env("XTASK_CALLED_AS", "cargo xtask");
        command
    }

    /// Runs the tool to its end.
    #[track_caller]
    pub fn xtask(&self, args: &[&str]) -> Ran {
        self.spawn(args).wait(PATIENCE)
    }

    /// Starts the tool and lets it run.
    pub fn spawn(&self, args: &[&str]) -> Running {
        self.spawn_with(args, |_| {})
    }

    /// Starts the tool with a change to its command: folder, variables.
    pub fn spawn_with(&self, args: &[&str], change: impl FnOnce(&mut Command)) -> Running {
        let mut command = self.command();
        change(&mut command);
        self.runs.set(self.runs.get() + 1);
        Running::start(command, args, self.out().join(format!("run{}", self.runs.get())))
    }

    /// The status of the `dev` stack as data.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        self.xtask(&["status", "--json"]).json()
    }

    /// One service out of [`status`](Self::status).
    #[track_caller]
    pub fn service(&self, name: &str) -> serde_json::Value {
        let status = self.status();
        let services = status["services"].as_array().unwrap();
        let found = services.iter().find(|service| service["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("no service `{name}` in {status:#}"))
    }

    /// The pid of the supervisor of the `dev` stack.
    #[track_caller]
    pub fn supervisor(&self) -> i32 {
        self.pid("supervisor_pid")
    }

    /// The pid of the guardian of the `dev` stack.
    #[track_caller]
    pub fn guardian(&self) -> i32 {
        self.pid("guardian_pid")
    }

    #[track_caller]
    fn pid(&self, key: &str) -> i32 {
        let status = self.status();
        let pid = status[key].as_i64().unwrap_or_else(|| panic!("no `{key}` in {status:#}"));
        i32::try_from(pid).unwrap()
    }

    /// Everything of this fixture that is alive.
    pub fn processes(&self) -> Vec<Process> {
        processes::of_folder(&self.base)
    }

    /// Fails the test if anything of this fixture is alive a second from now.
    #[track_caller]
    pub fn is_quiet(&self) {
        within_a_second("the end", || {
            self.processes()
                .iter()
                .map(|found| format!("{} {}", found.pid, found.command))
                .collect()
        });
    }

    /// Takes the stacks down, as far as something of them runs.
    pub fn take_down(&self) {
        if Path::new(&self.root()).exists() && !self.processes().is_empty() {
            for stack in &self.stacks {
                let down = self.spawn(&["down", "--stack", stack]);
                // A panic here, while the test fails already, would end the process.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    down.wait(Duration::from_secs(20))
                }));
            }
        }
    }

    /// Takes the stacks down and gives back what is still alive.
    fn end(&self) -> Vec<Process> {
        self.take_down();
        let deadline = Instant::now() + LAST_WORDS;
        loop {
            let left = self.processes();
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let left = self.end();
        for process in &left {
            // SAFETY: the call takes two numbers; one that has ended meanwhile is no failure.
            unsafe { libc::kill(process.pid, libc::SIGKILL) };
        }
        let failed = thread::panicking();
        if failed || !left.is_empty() {
            if let Some(folder) = self.folder.take() {
                eprintln!("the folder is kept: {}", folder.keep().display());
            }
            eprintln!("still alive after `down`: {left:#?}");
        }
        assert!(failed || left.is_empty(), "processes are left behind");
    }
}
