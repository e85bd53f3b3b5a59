//! Reads `/proc/PID/stat`, for the tool and for the test harness.

use std::fmt::Display;
use std::path::Path;

/// The state, relations and start time of a process or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// State letter, such as `S` for sleeping.
    pub state: u8,
    /// Process id of the parent; 0 if the parent is outside of this pid namespace.
    pub parent: i32,
    /// Process group id.
    pub group: i32,
    /// Session id.
    pub session: i32,
    /// The number of its threads; of a thread that has ended, of those that are left.
    pub threads: u32,
    /// Start time in clock ticks since boot.
    pub started_ticks: u64,
}

impl ProcessStat {
    /// The stat of a process; none if it does not exist, or on a system without `/proc`.
    pub fn of(pid: impl Display) -> Option<Self> {
        Self::in_folder(Path::new(&format!("/proc/{pid}")))
    }

    /// The stat in `/proc/PID` or `/proc/PID/task/TID`.
    pub fn in_folder(folder: &Path) -> Option<Self> {
        Self::parse(&std::fs::read(folder.join("stat")).ok()?)
    }

    /// Whether the process has ended, and its parent has not reaped it. The state is that of its
    /// first thread, and the others keep its sockets open until they have ended too.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    /// Whether a signal or a debugger suspended the process.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// `PID (NAME) STATE PARENT GROUP SESSION ...`; NAME may contain spaces and parentheses.
    fn parse(stat: &[u8]) -> Option<Self> {
        let after_name = memchr::memrchr(b')', stat)? + 1;
        let mut fields = std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace();
        Some(Self {
            state: *fields.next()?.as_bytes().first()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
            threads: fields.nth(13)?.parse().ok()?,
            started_ticks: fields.nth(1)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_accepts_a_process_name_with_parentheses() {
        let line = b"12 (a) b) Z) S 1 77 76 0 -1 4194560 93 0 0 0 2 1 0 0 20 0 1 0 5678 2 3";
        let stat = ProcessStat {
            state: b'S',
            parent: 1,
            group: 77,
            session: 76,
            threads: 1,
            started_ticks: 5678,
        };
        assert_eq!(ProcessStat::parse(line), Some(stat));
        assert_eq!(ProcessStat::parse(b"12 (a"), None);
    }

    #[test]
    fn process_has_ended_when_its_last_thread_has() {
        let line = |threads| format!("12 (a) Z 1 77 76 0 -1 4 93 0 0 0 2 1 0 0 20 0 {threads} 0 5");
        let is_zombie = |threads| ProcessStat::parse(line(threads).as_bytes()).unwrap().is_zombie();
        assert!(is_zombie(1) && is_zombie(0));
        assert!(!is_zombie(2));
    }
}
