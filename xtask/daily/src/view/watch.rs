//! What a watcher reports: lines of its log, and the line of `status`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use xtask_client::logs::WATCH_LOG;
use xtask_client::snapshot::{Watch, WatchState};
use xtask_core::terms::Name;

use super::progress::ProgressLine;
use super::style::{BAD, BUSY, GOOD, RESET, WARN};
use super::words::{command_for, list};

/// The line about changed files. `services` are those that cargo or the metadata names for them.
pub(crate) fn changed(
    root: &Path,
    files: &BTreeSet<PathBuf>,
    services: &BTreeSet<Name>,
) -> ProgressLine {
    let shown = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let text = match files.len() {
        0 => "the workspace".to_owned(),
        1 | 2 => files.iter().map(shown).collect::<Vec<_>>().join(" and "),
        more => {
            let first = files.first().map(shown).unwrap_or_default();
            format!("{first} and {} more files", more - 1)
        }
    };
    let names: Vec<&str> = services.iter().map(Name::as_str).collect();
    let of = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    (BUSY, "Changed", format!("{text}{of}"))
}

/// The line about a failed build.
pub(crate) fn kept(what: &str) -> ProgressLine {
    (WARN, "Kept", format!("the running services, because the {what} failed"))
}

/// The line about a build after a failed one.
pub(crate) fn mended() -> ProgressLine {
    (GOOD, "Mended", "the last edit builds again".to_owned())
}

/// The line about files that builds write.
pub(crate) fn generated(root: &Path, files: &[PathBuf]) -> ProgressLine {
    let shown = |path: &PathBuf| format!("`{}`", path.strip_prefix(root).unwrap_or(path).display());
    let names = list(files.iter().map(shown));
    (WARN, "Ignoring", format!("{names} while cargo builds: each build writes it anew"))
}

/// The line about missing file events.
pub(crate) fn polls(reason: &str) -> ProgressLine {
    let text = format!("all files once a second, because {reason}; `sysctl` raises it");
    (WARN, "Polling", text)
}

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
    fn changed_files_are_relative_and_counted() {
        let files = |names: &[&str]| names.iter().map(|name| Path::new("/w").join(name)).collect();
        let services = BTreeSet::from(["shop".into(), "stock".into()]);
        let text = |names: &[&str]| changed(Path::new("/w"), &files(names), &services).2;
        assert_eq!(text(&["shared/src/lib.rs"]), "shared/src/lib.rs (shop, stock)");
        assert_eq!(text(&["a", "b", "c"]), "a and 2 more files (shop, stock)");
    }

    #[test]
    fn broken_build_is_shown_with_its_log() {
        let state = WatchState::Broken { message: "error: no".to_owned() };
        let watch = Watch { pid: 7, state, polls: None };
        let text = anstream::adapter::strip_str(&status(Some(&watch), "dev")).to_string();
        assert_eq!(text, "\nWatch: broken: error: no; `%xtask% logs +watch` shows all (pid 7)\n");
    }
}
