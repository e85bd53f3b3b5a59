//! Who runs these tests: the process whose end ends the stack that they share.
//!
//! It neither starts nor stops anything.

use crate::process_stat::ProcessStat;

/// A process that is known again even when its number is used a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Runner {
    /// The process.
    pub(crate) pid: u32,
    /// When it was started, in the system's ticks since boot; 0 where the system does not say.
    started_ticks: u64,
}

impl Runner {
    /// The runner of the calling test. nextest runs a process a test, so it is nextest
    /// itself; with `cargo test` all tests are threads of one process, which is this one.
    pub(crate) fn of_this_test() -> Self {
        let own = std::process::id();
        let pid = match std::env::var("NEXTEST_RUN_ID") {
            Ok(run) => above(&format!("NEXTEST_RUN_ID={run}")),
            Err(_) if std::env::var_os("NEXTEST").is_some() => std::os::unix::process::parent_id(),
            Err(_) => own,
        };
        Self { pid, started_ticks: started_ticks(pid) }
    }

    /// This very process.
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        Self { pid, started_ticks: started_ticks(pid) }
    }

    /// What files of this runner are named after; differs between any two runners.
    pub(crate) fn key(self) -> String {
        format!("{}-{}", self.pid, self.started_ticks)
    }

    /// The runner that a [`Runner::key`] names.
    pub(crate) fn from_key(key: &str) -> Option<Self> {
        let (pid, ticks) = key.split_once('-')?;
        Some(Self { pid: pid.parse().ok()?, started_ticks: ticks.parse().ok()? })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let exists = pid.is_some_and(|pid| {
            // No permission to signal it is an answer too: it is there.
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        });
        // One that ended and was not waited for still has its number.
        let stat = ProcessStat::of(self.pid);
        let ended = stat.is_some_and(|stat| stat.is_zombie());
        exists && !ended && stat.map_or(0, |stat| stat.started_ticks) == self.started_ticks
    }
}

/// The first process above this one that was not itself started with the variable `mark`.
/// Wrappers between runner and test, which inherit it, are passed over.
fn above(mark: &str) -> u32 {
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

/// The parent of a process; `None` at the top, or where the system does not say.
fn parent(pid: u32) -> Option<u32> {
    u32::try_from(ProcessStat::of(pid)?.parent).ok().filter(|parent| *parent > 1)
}

/// 0 where the system does not report it.
fn started_ticks(pid: u32) -> u64 {
    ProcessStat::of(pid).map_or(0, |stat| stat.started_ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_known_again_by_its_key() {
        let runner = Runner::of_this_test();
        assert_eq!(Runner::from_key(&runner.key()), Some(runner));
        assert!(runner.is_alive());
    }

    #[test]
    fn another_process_of_the_same_number_is_not_the_runner() {
        let own = Runner { pid: std::process::id(), started_ticks: 1 };
        assert!(!own.is_alive());
    }

    #[test]
    fn a_process_that_ended_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let runner = Runner { pid: child.id(), started_ticks: started_ticks(child.id()) };
        child.wait().unwrap();
        assert!(!runner.is_alive());
    }

    #[test]
    fn the_parent_of_a_child_is_this_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let seen = parent(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, Some(std::process::id()));
    }
}
