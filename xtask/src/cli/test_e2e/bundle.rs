//! What a failed run leaves for whoever looks for the reason: a folder of texts beside the
//! logs.
//!
//! It decides nothing about the run. What cannot be had is left out: there is a failure to
//! tell already.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask_client::StackPaths;
use xtask_client::harness::{FAILED_TESTS, FailedTest};
use xtask_client::logs::last_lines;
use xtask_client::protocol::Reply;
use xtask_client::snapshot::Snapshot;
use xtask_core::stack::Report;
use xtask_core::terms::secret::{MASK, has_password};

use super::TestE2eArgs;
use super::again::{again, shape_of};
use super::outcome::Outcome;

/// Lines of the course of things that are kept, the last ones.
const MOST_LINES: usize = 5_000;

/// Lines of each service that are looked through for a failed test.
const MOST_LOG_LINES: usize = 20_000;

/// Before a test has its stack, and after it failed, services may say what belongs to it.
const AROUND_MS: u64 = 500;

/// What services did during the tests, and how they stood in the end.
#[derive(Debug, Default)]
pub(crate) struct Course {
    lines: VecDeque<String>,
    /// The last state that was seen; none where the stack did not come up.
    pub(crate) last: Option<Snapshot>,
}

impl Course {
    /// Notes what the supervisor says.
    pub(crate) fn take(&mut self, reply: &Reply) {
        let Reply::Report(report) = reply else { return };
        let line = match report {
            Report::Phase { service, run, phase, reason } => {
                let reason = reason.as_deref().unwrap_or_default();
                format!("{service} (run {run}) is {} {reason}", phase.as_str())
            }
            Report::Fault { service, run, fault } => {
                format!("{service} (run {run}) by order: {fault:?}")
            }
            _ => return,
        };
        if self.lines.len() == MOST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:.3} {}", jiff::Timestamp::now(), line.trim_end()));
    }

    fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}

/// Writes the bundle of a stack; its folder.
///
/// # Errors
/// What the system says of the folder.
pub(crate) fn write(
    paths: &StackPaths,
    root: &Path,
    args: &TestE2eArgs,
    outcome: &Outcome,
    course: &Course,
) -> std::io::Result<PathBuf> {
    let folder = paths.folder().join("bundle");
    fs::create_dir_all(&folder)?;
    let failed = failed_tests(paths);
    fs::write(folder.join("summary.txt"), summary(args, outcome, course, &failed))?;
    fs::write(folder.join("events.txt"), course.text())?;
    if let Some(last) = &course.last {
        fs::write(folder.join("status.json"), serde_json::to_vec_pretty(&masked(last.clone()))?)?;
    }
    // The words of other commands, with secrets masked as they mask them.
    let stack = paths.stack();
    let plan = ["up", "--dry-run", "--json", "--isolated", "--stack", &stack];
    save(root, args, &plan, &folder.join("plan.json"));
    save(root, args, &["graph"], &folder.join("graph.txt"));
    for test in &failed {
        let name = test.test.replace(|c: char| !c.is_alphanumeric() && c != '_', "-");
        fs::write(folder.join(format!("test-{name}.log")), logs_around(paths, course, test))?;
    }
    Ok(folder)
}

fn summary(
    args: &TestE2eArgs,
    outcome: &Outcome,
    course: &Course,
    failed: &[FailedTest],
) -> String {
    let mut text = format!("run it again: {}\n", again(args));
    let code = outcome.runner_exit_code.map_or("none".to_owned(), |code| code.to_string());
    let _ = writeln!(text, "exit code: {}, of the runner: {code}", outcome.exit_code);
    for death in &outcome.died {
        let _ = writeln!(text, "died: {} (run {}): {}", death.service, death.run, death.reason);
    }
    for test in failed {
        let _ = writeln!(text, "failed: {}", test.test);
    }
    for service in course.last.iter().flat_map(|last| &last.services) {
        let reason = service.reason.as_deref().unwrap_or_default();
        let phase = service.phase.as_str();
        let _ = writeln!(text, "{}: {phase} (run {}) {reason}", service.name, service.run);
    }
    text
}

/// Addresses with a password in them are nobody's who reads a bundle.
fn masked(mut snapshot: Snapshot) -> Snapshot {
    for service in &mut snapshot.services {
        if service.url.as_deref().is_some_and(has_password) {
            service.url = Some(MASK.to_owned());
        }
    }
    snapshot
}

fn save(root: &Path, args: &TestE2eArgs, words: &[&str], file: &Path) {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.args(words).args(["--color", "never"]).current_dir(root);
    command.args(shape_of(args));
    if let Ok(output) = command.output() {
        fs::write(file, output.stdout).ok();
    }
}

fn failed_tests(paths: &StackPaths) -> Vec<FailedTest> {
    let text = fs::read_to_string(paths.folder().join(FAILED_TESTS)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The lines of all services from a little before the test to a little after it, by time.
fn logs_around(paths: &StackPaths, course: &Course, test: &FailedTest) -> String {
    let (Some(from), Some(until)) = (
        time(test.from_ms.saturating_sub(AROUND_MS)),
        time(test.until_ms.saturating_add(AROUND_MS)),
    ) else {
        return String::new();
    };
    let mut found = Vec::new();
    for service in course.last.iter().flat_map(|last| &last.services) {
        let lines = last_lines(&paths.log(&service.name), None, MOST_LOG_LINES);
        for line in lines.unwrap_or_default() {
            // Their time is written so that the order of texts is that of times.
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

/// As the times in logs are written.
fn time(ms: u64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(format!("{time:.3}"))
}
