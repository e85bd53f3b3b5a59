//! The result of a run of the end-to-end tests, as JSON and as text.
//!
//! It keeps the files of a failed run and deletes those of other runs.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use xtask_client::STACK_VARIABLE;
use xtask_control::StackPaths;
use xtask_core::calls::Call;
use xtask_core::terms::secret::shown_url;
use xtask_logs::closing_lines;

use super::TestRun;
use super::arguments::repeat_command;
use super::bundle;
use super::crashes::Crash;
use xtask::cli::Exit;
use xtask::cli::{error, print, stack};
use xtask::session::isolated;
use xtask::view::words::quoted;
use xtask::view::{log, style};

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

impl TestRun<'_> {
    /// Reports crashes and the files that are kept, or deletes the files.
    pub(super) fn conclude(&mut self, exit: Exit) {
        self.summary.exit_code = exit.code();
        self.summary.passed = exit == Exit::DONE;
        for crash in &self.summary.died {
            report_crash(crash, &self.paths);
        }
        let tests_failed = exit == Exit::FAILED && self.summary.ran;
        // The services' logs may explain the failure.
        let needs_inspection =
            (exit == Exit::NOT_READY || tests_failed) && self.paths.logs().exists();
        if needs_inspection {
            self.keep();
        }
        if self.args.keep && self.summary.runner.is_some() {
            self.report_kept_stack();
        } else if needs_inspection {
            // Cargo builds them again.
            std::fs::remove_dir_all(self.paths.folder().join("programs")).ok();
        } else {
            stack::delete(&self.paths);
        }
        if needs_inspection && !self.args.keep {
            print::hint(&format!("read the logs: `%xtask% logs --stack {}`", self.paths.stack()));
        }
        if tests_failed {
            print::hint(&format!("repeat the run: `{}`", repeat_command(self.args)));
        }
    }

    fn keep(&mut self) {
        let written = isolated::keep(&self.paths).and_then(|()| bundle::write(self));
        match written.context("failed to write the bundle") {
            Ok(bundle) => self.summary.bundle = Some(bundle),
            Err(error) => drop(error::report(&error)),
        }
        let logs = self.paths.logs();
        let bundle = self.paths.folder().join("bundle");
        let text = format!("logs in `{}`, bundle in `{}`", logs.display(), bundle.display());
        print::progress(style::BUSY, "Kept", &text);
        self.summary.logs = Some(logs);
    }

    /// Reports how to use a stack that is kept, and how to stop it.
    fn report_kept_stack(&self) {
        let (stack, package) = (self.paths.stack(), self.package);
        print::progress(style::BUSY, "Kept", &format!("stack `{stack}` is up"));
        for service in self.history.services() {
            if let Some(url) = &service.url {
                print::line(&format!("  {} at {}", service.name, shown_url(url)));
            }
        }
        let folder = quoted(&self.paths.folder().to_string_lossy());
        let again = format!("{STACK_VARIABLE}={folder}");
        print::hint(&format!("show it: `%xtask% status --stack {stack}`"));
        print::hint(&format!("test it again: `{again} cargo test -p {package}`"));
        print::hint(&format!("stop it: `%xtask% down --data --stack {stack}`"));
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
