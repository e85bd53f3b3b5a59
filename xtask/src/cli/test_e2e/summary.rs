//! The result of a run of the end-to-end tests, as JSON and as text.
//!
//! It keeps the files of a failed run and deletes those of other runs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use xtask_client::logs::closing_lines;
use xtask_client::{STACK_VARIABLE, StackPaths};
use xtask_core::calls::Call;

use super::TestE2eArgs;
use super::arguments::repeat_command;
use super::bundle::{self, History};
use super::crashes::Crash;
use crate::cli::exit::Exit;
use crate::cli::{error, print, stack};
use crate::session::isolated;
use crate::view::{log, style};

/// How many last lines of a crashed service are printed.
const SHOWN_LINES: usize = 20;

/// The output of `--json`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) stack: String,
    /// Whether at least one test ran, all passed, and no service crashed.
    pub(crate) passed: bool,
    pub(crate) exit_code: u8,
    /// Whether at least one test ran.
    pub(crate) ran: bool,
    /// The command of the runner; null if it did not start.
    pub(crate) runner: Option<&'static str>,
    /// The exit code of the runner; null if a signal killed it or it did not start.
    pub(crate) runner_exit_code: Option<i32>,
    pub(crate) died: Vec<Crash>,
    /// Connections between services at the end that no metadata declares.
    pub(crate) undeclared: Vec<Call>,
    /// How many services `--kill-random` killed.
    pub(crate) killed: u32,
    /// Whether there was no test to run.
    pub(crate) nothing_matched: bool,
    /// The folder of a failed run's bundle.
    pub(crate) bundle: Option<PathBuf>,
    /// The folder of the logs, if they are kept.
    pub(crate) logs: Option<PathBuf>,
}

impl Summary {
    /// Reports crashes and the files that are kept, or deletes the files.
    pub(crate) fn conclude(
        &mut self,
        exit: Exit,
        paths: &StackPaths,
        root: &Path,
        package: &str,
        args: &TestE2eArgs,
        history: &History,
    ) {
        self.exit_code = exit.code();
        self.passed = exit == Exit::DONE;
        for crash in &self.died {
            report_crash(crash, paths);
        }
        let needs_inspection = self.needs_inspection(exit, paths);
        if needs_inspection {
            self.keep(paths, root, args, history);
        }
        let is_up = args.keep && self.runner.is_some();
        if needs_inspection && !is_up {
            // Cargo builds them again.
            std::fs::remove_dir_all(paths.folder().join("programs")).ok();
        }
        if is_up {
            report_kept_stack(paths, package, history);
        } else if !needs_inspection {
            stack::delete(paths);
        }
        if exit == Exit::FAILED && self.ran {
            print::hint(&format!("repeat the run: `{}`", repeat_command(args)));
        }
    }

    fn keep(&mut self, paths: &StackPaths, root: &Path, args: &TestE2eArgs, history: &History) {
        let written = isolated::keep(paths).and_then(|()| {
            self.bundle = Some(bundle::write(paths, root, args, self, history)?);
            Ok(())
        });
        if let Err(error) = written.context("failed to write the bundle") {
            error::report(&error);
        }
        let logs = paths.logs();
        let bundle = paths.folder().join("bundle");
        let text = format!("logs in `{}`, bundle in `{}`", logs.display(), bundle.display());
        print::progress(style::BUSY, "Kept", &text);
        self.logs = Some(logs);
    }

    /// Whether the services' logs may explain a failure.
    fn needs_inspection(&self, exit: Exit, paths: &StackPaths) -> bool {
        let failed = exit == Exit::NOT_READY || (exit == Exit::FAILED && self.ran);
        failed && paths.logs().exists()
    }
}

fn report_crash(crash: &Crash, paths: &StackPaths) {
    let Crash { service, run, reason } = crash;
    print::error(&format!("service `{service}` crashed in run {run}: {reason}"), None);
    let path = paths.log(service);
    match closing_lines(&path, *run, SHOWN_LINES) {
        Ok(lines) => print::line(log::excerpt(&lines).trim_end_matches('\n')),
        Err(error) => print::line(&format!("failed to read `{}`: {error}", path.display())),
    }
}

/// Reports how to use a stack that is kept, and how to stop it.
fn report_kept_stack(paths: &StackPaths, package: &str, history: &History) {
    let stack = paths.stack();
    print::progress(style::BUSY, "Kept", &format!("stack `{stack}` is up"));
    for service in history.last.iter().flat_map(|last| &last.services) {
        if let Some(url) = &service.url {
            print::line(&format!("  {} at {url}", service.name));
        }
    }
    let folder = paths.folder().display();
    print::hint(&format!("show it: `cargo xtask status --stack {stack}`"));
    print::hint(&format!("test it again: `{STACK_VARIABLE}='{folder}' cargo test -p {package}`"));
    print::hint(&format!("stop it: `cargo xtask down --data --stack {stack}`"));
}
