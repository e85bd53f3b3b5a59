//! What came of a run of the end-to-end tests: as JSON, and for people.
//!
//! It reads logs and deletes or keeps what the stack left; it decides nothing about the run.

use std::path::PathBuf;

use serde::Serialize;
use xtask_client::StackPaths;
use xtask_client::logs::closing_lines;
use xtask_core::calls::Call;

use super::TestE2eArgs;
use super::deaths::Death;
use crate::cli::exit::Exit;
use crate::cli::{isolated, print};
use crate::view::{log, style};

/// Lines that are shown of the log of a service that died.
const SHOWN_LINES: usize = 20;

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
            logs: None,
        }
    }

    /// Says what happened to services and what is left behind, or deletes it.
    pub(crate) fn conclude(&mut self, exit: Exit, paths: &StackPaths, args: &TestE2eArgs) {
        self.exit_code = exit.code();
        self.passed = exit == Exit::DONE;
        for death in &self.died {
            tell(death, paths);
        }
        if args.keep && self.runner.is_some() {
            style::say(style::BUSY, "Kept", &format!("stack `{}` is up", self.stack));
            hint(&format!("take it down: `cargo xtask down --data --stack {}`", self.stack));
        } else if self.is_worth_a_look(exit, paths) && isolated::keep(paths).is_ok() {
            let logs = paths.logs();
            style::say(style::BUSY, "Kept", &format!("logs in `{}`", logs.display()));
            self.logs = Some(logs);
        } else {
            // Nobody will look at it, and a later run makes its own.
            std::fs::remove_dir_all(paths.folder()).ok();
        }
        if exit == Exit::FAILED && self.ran {
            hint(&format!("run it again: `{}`", again(args)));
        }
    }

    /// Whether something failed of which the services' logs may tell.
    fn is_worth_a_look(&self, exit: Exit, paths: &StackPaths) -> bool {
        let failed = exit == Exit::NOT_READY || (exit == Exit::FAILED && self.ran);
        failed && paths.logs().exists()
    }
}

fn tell(death: &Death, paths: &StackPaths) {
    let Death { service, run, reason } = death;
    let text = format!("service `{service}` died by itself in run {run}: {reason}");
    print::error(&anyhow::Error::msg(text));
    let path = paths.log(service);
    match closing_lines(&path, *run, SHOWN_LINES) {
        Ok(lines) => style::tell(log::excerpt(&lines).trim_end_matches('\n')),
        Err(error) => style::tell(&format!("cannot read `{}`: {error}", path.display())),
    }
}

fn hint(text: &str) {
    style::tell(&format!("  {}hint:{} {text}", style::BOLD, style::RESET));
}

/// The same command, for a shell.
fn again(args: &TestE2eArgs) -> String {
    let mut words = vec!["cargo xtask test-e2e".to_owned()];
    words.extend(args.with.iter().map(|overlay| format!("--with {}", quoted(overlay))));
    words.extend(args.filters.iter().map(|word| quoted(word)));
    if !args.runner_args.is_empty() {
        words.push("--".to_owned());
        words.extend(args.runner_args.iter().map(|word| quoted(word)));
    }
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell_are_quoted_where_it_would_split_them() {
        assert_eq!(quoted("shop::shelves"), "shop::shelves");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_command_to_run_again_is_the_command_that_was_run() {
        let args = TestE2eArgs {
            filters: vec!["slow".into()],
            with: vec!["postgres".into()],
            runner_args: vec!["-E".into(), "test(a)".into()],
            ..TestE2eArgs::default()
        };
        let command = "cargo xtask test-e2e --with postgres slow -- -E 'test(a)'";
        assert_eq!(again(&args), command);
    }
}
