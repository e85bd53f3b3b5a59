//! Generated workspaces, and the tool in them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::command::{self, Output};
use crate::graph::Graph;
use crate::process;
use crate::programs::{Programs, cargo};

/// How services report that they are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// `READY=1`, without a port.
    Notify,
    /// The tool polls a port that the service binds.
    Ports,
    /// The tool binds the port, and the first answer counts.
    Sockets,
}

impl Readiness {
    const fn keys(self) -> &'static str {
        match self {
            Self::Notify => "ready = { notify = true }",
            Self::Ports => "port = 0",
            Self::Sockets => "port = 0\nsocket-activation = true\nready = { http = \"/\" }",
        }
    }
}

/// A workspace in a folder of its own. The drop ends its stack.
#[derive(Debug)]
pub(crate) struct Workspace {
    tool: PathBuf,
    base: PathBuf,
    /// For sockets, in memory as the runtime folder of a session is.
    runtime: PathBuf,
    _folders: [tempfile::TempDir; 2],
}

impl Workspace {
    /// A workspace with one package, `shop`, of this manifest and main file.
    pub(crate) fn new(
        tool: &Path,
        root_lines: &str,
        package_lines: &str,
        main: &str,
    ) -> anyhow::Result<Self> {
        let prefixed = || tempfile::Builder::new().prefix("xtask-bench-").to_owned();
        let folder = prefixed().tempdir()?;
        let sockets = prefixed().tempdir_in("/dev/shm").or_else(|_| prefixed().tempdir())?;
        let base = folder.path().canonicalize()?;
        let runtime = sockets.path().canonicalize()?;
        let tool = tool.to_path_buf();
        let this = Self { tool, base, runtime, _folders: [folder, sockets] };
        for folder in
            [this.runtime.clone(), this.base.join("state"), this.base.join("root/shop/src")]
        {
            fs::create_dir_all(&folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        let manifest =
            format!("[workspace]\nresolver = \"3\"\nmembers = [\"shop\"]\n\n{root_lines}");
        fs::write(this.root().join("Cargo.toml"), manifest)?;
        let package = format!(
            "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{package_lines}"
        );
        fs::write(this.root().join("shop/Cargo.toml"), package)?;
        fs::write(this.main_file(), main)?;
        command::run(this.cargo().args(["generate-lockfile", "--offline"]))?;
        Ok(this)
    }

    /// A workspace whose services run the helper with these arguments.
    pub(crate) fn of_helpers(
        programs: &Programs,
        graph: &Graph,
        readiness: Readiness,
        args: &[&str],
    ) -> anyhow::Result<Self> {
        let mut lines = String::new();
        let command: Vec<String> = std::iter::once(programs.helper.to_string_lossy().into_owned())
            .chain(args.iter().map(|&arg| arg.to_owned()))
            .collect();
        for (number, on) in graph.dependencies.iter().enumerate() {
            let on: Vec<_> = on.iter().map(|on| format!("s{on}")).collect();
            let _ = writeln!(
                lines,
                "[workspace.metadata.services.s{number}]\ncommand = {command:?}\n\
                 depends-on = {on:?}\n{}\n",
                readiness.keys()
            );
        }
        Self::new(&programs.tool, &lines, "", "fn main() {}\n")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.base.join("root")
    }

    pub(crate) fn main_file(&self) -> PathBuf {
        self.root().join("shop/src/main.rs")
    }

    fn in_root(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root()).env_clear();
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("XTASK_STATE_DIR", self.base.join("state"));
        command.env("XDG_RUNTIME_DIR", &self.runtime);
        command
    }

    /// Cargo in the root.
    pub(crate) fn cargo(&self) -> Command {
        self.in_root(cargo())
    }

    /// The tool in the root, with a small environment.
    pub(crate) fn xtask(&self, args: &[&str]) -> Command {
        let mut command = self.in_root(&self.tool);
        // As the alias `cargo xtask` sets it.
        command.args(args).env("CARGO", cargo());
        command
    }

    /// Runs the tool to its end.
    pub(crate) fn run(&self, args: &[&str]) -> anyhow::Result<Output> {
        command::run(&mut self.xtask(args))
    }

    pub(crate) fn status(&self) -> anyhow::Result<Value> {
        let output = self.run(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout).context("failed to read the status")
    }

    /// Supervisor, guardian and sweeper.
    pub(crate) fn own_processes(&self) -> Vec<i32> {
        let of_tool = process::of_program(&self.tool);
        process::naming(&self.base).into_iter().filter(|pid| of_tool.contains(pid)).collect()
    }

    /// The log files of the stack, newest first for each service.
    pub(crate) fn log_files(&self) -> Vec<PathBuf> {
        let below = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let workspaces = below(&self.base.join("state"));
        workspaces.iter().flat_map(|folder| below(&folder.join("dev/logs"))).collect()
    }

    /// Ends the stack and waits until its processes are gone.
    pub(crate) fn down(&self) -> anyhow::Result<Output> {
        let output = self.run(&["down"])?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.own_processes().is_empty() {
            if Instant::now() > deadline {
                bail!("processes of the stack still run ten seconds after `down`");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(output)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !self.own_processes().is_empty() {
            let _ = self.down();
        }
    }
}
