//! Watching: a process of its own builds each edit and gives the supervisor the new programs.
//!
//! `up --watch` starts the process, in the foreground and detached alike, with its own environment,
//! folder and umask. So a build reads the same settings as the command that asked for it. The
//! process ends with the stack, with the next watcher, or when it is turned off.
//!
//! The process itself is the rare command `watcher`, in `xtask/src/cli/watcher`.

mod log;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use xtask_control::StackPaths;
use xtask_control::called_as::{self, CALLED_AS_VARIABLE};
use xtask_control::connection::update;
use xtask_control::protocol::Request;
use xtask_core::plan::Service;

use super::UpArgs;
use super::bring_up::BringUp;
use crate::cli::listed::WATCHER;
use crate::cli::load::Loaded;
use crate::cli::plan_args::CyclesWhen;
use crate::cli::{elsewhere, print};
use crate::session::connect::Session;
use crate::session::own_program;
use crate::system::mark::{MARK, Marks};
use crate::system::pidfd::ExitWatch;
use crate::view::style::{BUSY, WARN};

pub use log::WatchLog;

/// What a watcher plans and builds: the flags of the `up` that starts it, apart from those that the
/// stack keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WatchSettings {
    pub root: PathBuf,
    /// The folders in which cargo builds.
    pub outputs: Vec<PathBuf>,
    pub stack: String,
    /// The named services; none for the default ones.
    pub services: Vec<String>,
    /// The arguments after `--`.
    pub args: Vec<String>,
    pub cargo_args: Vec<String>,
    pub relax_cycles: bool,
    /// Whether the stack keeps `--watch` for later commands.
    pub keep: bool,
    /// The services as the command planned them.
    pub applied: Vec<Service>,
}

impl WatchSettings {
    /// Watches what an `up` brings up.
    pub(crate) fn of(args: &UpArgs, loaded: &Loaded) -> Self {
        let build = &args.programs.build;
        let flags = [(build.offline, "--offline"), (build.locked, "--locked")];
        let cargo_args = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag);
        Self {
            root: PathBuf::from(&loaded.plan.workspace),
            outputs: vec![
                loaded.files.target_directory.clone(),
                loaded.files.build_directory.clone(),
            ],
            stack: loaded.plan.stack.clone(),
            services: args.services.clone(),
            args: args.args.clone(),
            cargo_args: cargo_args.map(str::to_owned).collect(),
            relax_cycles: args.stack.plan.overlays.cycles == Some(CyclesWhen::Relax),
            keep: true,
            applied: loaded.plan.services.clone(),
        }
    }
}

/// Whether the stack of an `up` is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    pub(super) is_on: bool,
    /// Whether the command builds. Otherwise a watcher stays as it is.
    pub(super) builds: bool,
    pub(super) settings: WatchSettings,
}

impl Watching {
    /// Whether the command starts a watcher.
    pub(super) fn is_starting(&self) -> bool {
        self.is_on && self.builds
    }
}

impl BringUp<'_> {
    /// Starts or ends the watcher as the command asks. A failure is reported, and the stack runs
    /// without one.
    pub(super) async fn apply_watching(&mut self) {
        let Some(watching) = self.watching.take() else { return };
        let is_running = self.session.snapshot.watch.is_some();
        if watching.is_starting() {
            report(turn_on(&mut self.session, &watching.settings).await.map(|()| ON));
        } else if is_running && watching.builds {
            report(turn_off(&mut self.session).await.map(|()| OFF));
        }
        self.watching = Some(watching);
    }

    /// Starts or ends the watcher as a key asks. The stack keeps that for later commands.
    pub(super) async fn toggle_watching(&mut self) {
        let Some(watching) = self.watching.take() else { return };
        match self.session.snapshot.watch {
            Some(_) => report(turn_off(&mut self.session).await.map(|()| OFF)),
            None => {
                let settings = WatchSettings { keep: true, ..watching.settings.clone() };
                report(turn_on(&mut self.session, &settings).await.map(|()| ON));
            }
        }
        self.watching = Some(watching);
    }
}

const ON: (&str, &str) =
    ("Watching", "the sources; an edit is built, and its services run the new program");
const OFF: (&str, &str) = ("Unwatched", "edits are no longer followed");

fn report(done: anyhow::Result<(&'static str, &str)>) {
    match done {
        Ok((verb, text)) => print::progress(BUSY, verb, text),
        Err(error) => print::progress(WARN, "Unwatched", &format!("{error:#}")),
    }
}

/// Starts the watcher of a running stack in the place of an earlier one. Returns once it sees every
/// edit.
///
/// # Errors
/// When it cannot be started, or exits at once.
pub(crate) async fn turn_on(session: &mut Session, settings: &WatchSettings) -> anyhow::Result<()> {
    if elsewhere::is_missing() {
        print::progress(
            BUSY,
            "Building",
            "`cargo-services`, which follows edits, at its first use",
        );
    }
    let pid = start(&session.paths, settings).context("failed to start the watcher")?;
    let process = ExitWatch::new(pid).context("failed to observe the watcher")?;
    while session.snapshot.watch.as_ref().is_none_or(|watch| watch.pid != pid) {
        tokio::select! {
            answer = session.connection.next() => match answer? {
                Some(answer) => drop(update(&mut session.snapshot, answer.reply)),
                None => bail!("the supervisor exited"),
            },
            () = process.exited() => {
                let log = session.paths.supervisor_log();
                bail!("the watcher exited at once; see `{}`", log.display());
            }
        }
    }
    Ok(())
}

/// Ends the watcher of a running stack. Later commands start none either, unless asked to.
///
/// # Errors
/// When the supervisor is gone.
pub(crate) async fn turn_off(session: &mut Session) -> anyhow::Result<()> {
    Ok(session.request(Request::StopWatching).await?)
}

/// Starts the process, which gets the settings on its standard input: they may contain secrets, and
/// `ps` shows arguments.
fn start(paths: &StackPaths, settings: &WatchSettings) -> anyhow::Result<u32> {
    let log = File::options().create(true).append(true).open(paths.supervisor_log())?;
    let mut command = Command::new(own_program()?);
    command.arg(WATCHER.name).arg("--stack-dir").arg(paths.folder());
    // What cleans up after a killed supervisor kills the watcher too.
    command.env(MARK, Marks::of(paths).newest()).env(CALLED_AS_VARIABLE, called_as::name());
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: between fork and exec one call is made, which is async-signal-safe. In its own
    // session the watcher does not receive the Ctrl-C of this terminal.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(|_| ()).map_err(Into::into));
    }
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&serde_json::to_vec(settings)?)?;
    }
    let pid = child.id();
    // A watcher that ends before this process must not stay a zombie.
    std::thread::spawn(move || child.wait());
    Ok(pid)
}
