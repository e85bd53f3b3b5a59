//! What a watcher reports: the form of its lines, and the line of `status`.

use xtask_core::snapshot::{Watch, WatchState};
use xtask_logs::WATCH_LOG;

use super::progress::ProgressLine;
use super::style::{BAD, BUSY, GOOD, RESET};
use super::words::command_for;

/// A line of progress in a log.
pub(crate) fn line((color, verb, text): &ProgressLine) -> String {
    format!("{color}{verb:>12}{RESET} {text}")
}

/// What a watcher does, in a few words.
pub(crate) fn state(watch: &Watch) -> String {
    match &watch.state {
        WatchState::Idle => "watches".to_owned(),
        WatchState::Building => "builds an edit".to_owned(),
        WatchState::Blocked => "waits for another cargo".to_owned(),
        WatchState::Broken { .. } => "the last edit is broken".to_owned(),
    }
}

/// The line of `status` about the watcher; empty without one.
pub(crate) fn status(watch: Option<&Watch>, stack: &str) -> String {
    let Some(Watch { pid, state, polls }) = watch else { return String::new() };
    let (color, text) = match state {
        WatchState::Idle => (GOOD, "edits are built and run".to_owned()),
        WatchState::Building => (BUSY, "cargo builds an edit".to_owned()),
        WatchState::Blocked => (BUSY, "cargo waits for the lock of another build".to_owned()),
        WatchState::Broken { message } => {
            let logs = command_for(stack, &format!("logs {WATCH_LOG}"));
            (BAD, format!("broken: {message}; {logs} shows all"))
        }
    };
    let polls = polls.as_ref().map(|reason| format!("; it polls: {reason}")).unwrap_or_default();
    format!("\n{color}Watch{RESET}: {text} (pid {pid}){polls}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_build_is_shown_with_its_log() {
        let state = WatchState::Broken { message: "error: no".to_owned() };
        let watch = Watch { pid: 7, state, polls: None };
        let text = anstream::adapter::strip_str(&status(Some(&watch), "dev")).to_string();
        assert_eq!(text, "\nWatch: broken: error: no; `%xtask% logs +watch` shows all (pid 7)\n");
    }
}
