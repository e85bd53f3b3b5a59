//! What came of a run of the end-to-end tests, as data and as JSON.
//!
//! It is filled in by the run, and told and kept elsewhere.

use std::path::PathBuf;

use serde::Serialize;
use xtask_client::StackPaths;
use xtask_core::calls::Call;

use super::deaths::Death;
use crate::cli::exit::Exit;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// The stack's name.
    pub(crate) stack: String,
    /// Whether at least one test was run, all passed, and no service died by itself.
    pub(crate) passed: bool,
    /// What this command ends with.
    pub(crate) exit_code: u8,
    /// Whether at least one test was run.
    pub(crate) ran: bool,
    /// Who runs the tests; null if it did not come to that.
    pub(crate) runner: Option<&'static str>,
    /// The runner's own exit code; null if a signal ended it, or it did not run.
    pub(crate) runner_exit_code: Option<i32>,
    /// Services that died by themselves during the tests.
    pub(crate) died: Vec<Death>,
    /// Connections between services that were open at the end and that no metadata declares.
    pub(crate) undeclared: Vec<Call>,
    /// How many services `--kill-random` killed.
    pub(crate) killed: u32,
    /// Whether there was no test to run.
    pub(crate) nothing_matched: bool,
    /// The folder with what a failed run leaves.
    pub(crate) bundle: Option<PathBuf>,
    /// The folder of the logs, where they are kept.
    pub(crate) logs: Option<PathBuf>,
}

impl Outcome {
    /// Of a run of which nothing is known yet.
    pub(crate) fn of(paths: &StackPaths) -> Self {
        Self {
            stack: paths.stack(),
            passed: false,
            exit_code: Exit::FAILED.code(),
            ran: false,
            runner: None,
            runner_exit_code: None,
            died: Vec::new(),
            undeclared: Vec::new(),
            killed: 0,
            nothing_matched: false,
            bundle: None,
            logs: None,
        }
    }
}
