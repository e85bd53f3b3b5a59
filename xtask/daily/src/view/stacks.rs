//! The stacks of all workspaces, for `status --all`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use xtask_core::snapshot::{Phase, Snapshot, State};

use super::style::{BAD, BOLD, BUSY, DIM, GOOD, WARN};
use super::table::{Cell, table};

/// One stack of `status --all --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StackJson {
    /// The stack's name.
    pub(crate) stack: String,
    /// The root of its workspace at its last start; none if an older tool started it.
    pub(crate) workspace: Option<PathBuf>,
    /// The folder of its data and logs.
    pub(crate) folder: PathBuf,
    /// The pid of its supervisor, while one runs.
    pub(crate) supervisor_pid: Option<u32>,
    /// The stack as in `status --json`; none if it is down or its supervisor does not answer.
    pub(crate) status: Option<Snapshot>,
}

impl StackJson {
    fn state(&self) -> (&'static str, &'static str) {
        match (self.status.as_ref().map(|status| status.state), self.supervisor_pid) {
            (Some(State::Working), _) => (BUSY, "working"),
            (Some(State::Ready), _) => (GOOD, "ready"),
            (Some(State::Stopped), _) => (DIM, "stopped"),
            (Some(State::Failed), _) => (BAD, "failed"),
            (Some(State::Stopping), _) => (WARN, "stopping"),
            (None, Some(_)) => (BAD, "no answer"),
            (None, None) => (DIM, "down"),
        }
    }

    /// How many of the wanted services are ready or have succeeded.
    fn ready(&self) -> String {
        let Some(status) = &self.status else { return String::new() };
        let wanted = status.services.iter().filter(|service| service.wanted);
        let ready = wanted
            .clone()
            .filter(|service| matches!(service.phase, Phase::Ready | Phase::Succeeded));
        format!("{} of {}", ready.count(), wanted.count())
    }
}

/// The table of all stacks. `exists` reports whether the folder of a workspace exists.
pub(crate) fn text(stacks: &[StackJson], exists: impl Fn(&Path) -> bool) -> String {
    let head = ["STACK", "WORKSPACE", "STATE", "READY", "SUPERVISOR", "NOTE"];
    let mut rows: Vec<Vec<Cell>> = vec![head.map(|name| Cell::styled(name, DIM)).to_vec()];
    rows.extend(stacks.iter().map(|stack| {
        let (color, state) = stack.state();
        let note = match &stack.workspace {
            Some(root) if !exists(root) => "the workspace was moved or deleted",
            Some(_) | None => "",
        };
        // A folder without a record has at least the name of the workspace in its path.
        let place = stack.workspace.as_ref().or(Some(&stack.folder));
        vec![
            Cell::styled(&*stack.stack, BOLD),
            place.map(|place| place.display().to_string()).unwrap_or_default().into(),
            Cell::styled(state, color),
            stack.ready().into(),
            stack.supervisor_pid.map(|pid| pid.to_string()).unwrap_or_default().into(),
            Cell::styled(note, DIM),
        ]
    }));
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{service, snapshot};

    #[test]
    fn table_lists_stacks_of_all_workspaces() {
        let stack = |name: &str, root: Option<&str>| StackJson {
            stack: name.to_owned(),
            workspace: root.map(PathBuf::from),
            folder: PathBuf::from("/state/old-1/dev"),
            supervisor_pid: None,
            status: None,
        };
        let services = vec![service("api", Phase::Ready), service("web", Phase::Waiting)];
        let running = StackJson {
            supervisor_pid: Some(7),
            status: Some(snapshot(services)),
            ..stack("dev", Some("/shop"))
        };
        let silent = StackJson { supervisor_pid: Some(8), ..stack("e2e-1", Some("/gone")) };
        let table = text(&[running, silent, stack("dev", None)], |root| !root.ends_with("gone"));
        assert_eq!(
            anstream::adapter::strip_str(&table).to_string(),
            "STACK  WORKSPACE         STATE      READY   SUPERVISOR  NOTE\n\
             dev    /shop             working    1 of 2  7\n\
             e2e-1  /gone             no answer          8           \
             the workspace was moved or deleted\n\
             dev    /state/old-1/dev  down\n"
        );
    }
}
