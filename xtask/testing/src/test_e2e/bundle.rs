//! The bundle of a failed run: a folder with texts next to the logs that help to find the reason.
//!
//! Parts that cannot be read are omitted, because the run has failed already.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use xtask::system::timestamp::Timestamp;
use xtask::view::status::masked;
use xtask_client::harness::{FAILED_TESTS, FailedTest};
use xtask_control::called_as::named;
use xtask_control::protocol::Reply;
use xtask_core::snapshot::{ServiceSnapshot, Snapshot};
use xtask_core::stack::Report;
use xtask_logs::last_lines;

use super::TestRun;
use super::arguments::{repeat_command, up_arguments};
use xtask::cli::stack::own_command;

/// How many of the last lines of the history are kept.
const MOST_LINES: usize = 5_000;

/// How many of the last lines of each log are searched for a failed test.
const MOST_LOG_LINES: usize = 20_000;

/// Lines this long before and after a test also belong to it, in milliseconds.
const AROUND_MS: u64 = 500;

/// The reports about services during the tests, and their last state.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: VecDeque<String>,
    /// The last state; none if the stack failed to start.
    pub(crate) last: Option<Snapshot>,
}

impl History {
    pub(crate) fn record(&mut self, reply: &Reply) {
        let Reply::Report(report) = reply else { return };
        let line = match report {
            Report::Phase { service, run, phase, reason } => {
                let reason = reason.as_deref().unwrap_or_default();
                format!("{service} (run {run}) is {} {reason}", phase.as_str())
            }
            Report::Candidate { service, run, phase, reason } => {
                let reason = reason.as_deref().unwrap_or_default();
                format!("{service} (candidate, run {run}) is {} {reason}", phase.as_str())
            }
            Report::Fault { service, run, fault } => {
                format!("{service} (run {run}) injected fault: {fault:?}")
            }
            _ => return,
        };
        if self.lines.len() == MOST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{} {}", Timestamp::now(), line.trim_end()));
    }

    /// The services in the last state.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceSnapshot> {
        self.last.iter().flat_map(|last| &last.services)
    }

    fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}

/// Writes the bundle of a run and returns its folder.
pub(super) fn write(run: &TestRun<'_>) -> std::io::Result<PathBuf> {
    let folder = run.paths.folder().join("bundle");
    fs::create_dir_all(&folder)?;
    let failed = fs::read_to_string(run.paths.folder().join(FAILED_TESTS)).unwrap_or_default();
    let failed: Vec<FailedTest> =
        failed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    fs::write(folder.join("summary.txt"), summary(run, &failed))?;
    fs::write(folder.join("events.txt"), run.history.text())?;
    if let Some(last) = &run.history.last {
        fs::write(folder.join("status.json"), serde_json::to_vec_pretty(&masked(last))?)?;
    }
    // Other commands print these, with secrets masked.
    let stack = run.paths.stack();
    let plan = ["up", "--dry-run", "--json", "--isolated", "--stack", &stack];
    save(run, &plan, &folder.join("plan.json"));
    save(run, &["graph"], &folder.join("graph.txt"));
    for test in &failed {
        let name = test.test.replace(|c: char| !c.is_alphanumeric() && c != '_', "-");
        fs::write(folder.join(format!("test-{name}.log")), logs_around(run, test))?;
    }
    Ok(folder)
}

fn summary(run: &TestRun<'_>, failed: &[FailedTest]) -> String {
    let result = &run.summary;
    let mut text = format!("run it again: {}\n", named(&repeat_command(run.args)));
    let code = result.runner_exit_code.map_or("none".to_owned(), |code| code.to_string());
    let _ = writeln!(text, "exit code: {}, exit code of the runner: {code}", result.exit_code);
    for crash in &result.died {
        let _ = writeln!(text, "died: {} (run {}): {}", crash.service, crash.run, crash.reason);
    }
    for test in failed {
        let _ = writeln!(text, "failed: {}", test.test);
    }
    for service in run.history.services() {
        let reason = service.reason.as_deref().unwrap_or_default();
        let phase = service.phase.as_str();
        let _ = writeln!(text, "{}: {phase} (run {}) {reason}", service.name, service.run);
    }
    text
}

fn save(run: &TestRun<'_>, words: &[&str], file: &Path) {
    let Ok(mut command) = own_command(run.root) else { return };
    command.args(words).args(["--color", "never"]);
    command.args(up_arguments(run.args));
    if let Ok(output) = command.output() {
        fs::write(file, output.stdout).ok();
    }
}

/// The lines of all services around the test, in order of time.
fn logs_around(run: &TestRun<'_>, test: &FailedTest) -> String {
    let (Some(from), Some(until)) = (
        time(test.from_ms.saturating_sub(AROUND_MS)),
        time(test.until_ms.saturating_add(AROUND_MS)),
    ) else {
        return String::new();
    };
    let mut found = Vec::new();
    for service in run.history.services() {
        let lines = last_lines(&run.paths.log(&service.name), None, MOST_LOG_LINES);
        for line in lines.unwrap_or_default() {
            // The text order of times is their order in time.
            if let Some((at, rest)) = line.split_once(' ')
                && *from <= *at
                && *at <= *until
            {
                found.push(format!("{at} {} {rest}\n", service.name));
            }
        }
    }
    found.sort();
    found.concat()
}

/// A time in the format of the logs.
fn time(ms: u64) -> Option<String> {
    Some(Timestamp::from_milliseconds(ms)?.to_string())
}
