//! Finds the runner of the tests: the shared stack stops when that process exits.

use xtask_control::process_stat::ProcessStat;

/// A process, identified by pid and start time, because pids are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Runner {
    /// The process id.
    pub(crate) pid: u32,
    /// The start time in clock ticks since boot; 0 on systems without `/proc`.
    started_ticks: u64,
}

impl Runner {
    /// The runner of the calling test. nextest runs each test in a process, so the runner is
    /// nextest. `cargo test` runs all tests in this process, which is then the runner.
    pub(crate) fn of_this_test() -> Self {
        let own = std::process::id();
        let pid = match std::env::var("NEXTEST_RUN_ID") {
            Ok(run) => ancestor_without(&format!("NEXTEST_RUN_ID={run}")),
            Err(_) if std::env::var_os("NEXTEST").is_some() => std::os::unix::process::parent_id(),
            Err(_) => own,
        };
        Self::of(pid)
    }

    /// This process.
    pub(crate) fn this() -> Self {
        Self::of(std::process::id())
    }

    fn of(pid: u32) -> Self {
        Self { pid, started_ticks: ProcessStat::of(pid).map_or(0, |stat| stat.started_ticks) }
    }

    /// A key that is unique to the runner, for the names of its files.
    pub(crate) fn key(self) -> String {
        format!("{}-{}", self.pid, self.started_ticks)
    }

    /// The runner that a [`Runner::key`] names.
    pub(crate) fn from_key(key: &str) -> Option<Self> {
        let (pid, ticks) = key.split_once('-')?;
        Some(Self { pid: pid.parse().ok()?, started_ticks: ticks.parse().ok()? })
    }

    /// Whether the process still runs.
    pub(crate) fn is_alive(self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let exists = pid.is_some_and(|pid| {
            // A missing permission to signal it means that it exists.
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        });
        let stat = ProcessStat::of(self.pid);
        let ended = stat.is_some_and(|stat| stat.is_zombie());
        exists && !ended && stat.map_or(0, |stat| stat.started_ticks) == self.started_ticks
    }
}

/// The nearest ancestor that was not started with the variable `mark`. Wrappers between runner and
/// test inherit the variable.
fn ancestor_without(mark: &str) -> u32 {
    let mut found = std::os::unix::process::parent_id();
    while let Some(parent) = parent(found) {
        if !started_with(found, mark) {
            break;
        }
        found = parent;
    }
    found
}

fn started_with(pid: u32, mark: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// The parent of a process; `None` at the top, or on systems without `/proc`.
fn parent(pid: u32) -> Option<u32> {
    u32::try_from(ProcessStat::of(pid)?.parent).ok().filter(|parent| *parent > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_identifies_the_runner() {
        let runner = Runner::of_this_test();
        assert_eq!(Runner::from_key(&runner.key()), Some(runner));
        assert!(runner.is_alive());
    }

    #[test]
    fn reused_pid_is_not_the_runner() {
        let own = Runner { pid: std::process::id(), started_ticks: 1 };
        assert!(!own.is_alive());
    }

    #[test]
    fn exited_process_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let runner = Runner::of(child.id());
        child.wait().unwrap();
        assert!(!runner.is_alive());
    }

    #[test]
    fn parent_of_a_child_is_this_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let seen = parent(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, Some(std::process::id()));
    }
}
