//! The processes of a fixture, found without the tool's help: by the fixture's folder
//! in their environment, their program or their working folder.

use std::fs;
use std::path::Path;

/// A process that belongs to a fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: i32,
    /// Its command line.
    pub command: String,
}

/// Every living process that has to do with the folder; zombies are not alive.
pub(crate) fn of_folder(folder: &Path) -> Vec<Process> {
    let own = std::process::id().cast_signed();
    let folders = fs::read_dir("/proc").unwrap().flatten();
    folders
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own && alive(*pid) && belongs(*pid, folder))
        .map(|pid| Process { pid, command: command(pid) })
        .collect()
}

/// Whether there is a process of that number that is not a zombie.
pub fn alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

fn belongs(pid: i32, folder: &Path) -> bool {
    let name = folder.as_os_str().as_encoded_bytes();
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let below = |link: &str| {
        fs::read_link(format!("/proc/{pid}/{link}")).is_ok_and(|path| path.starts_with(folder))
    };
    environment.windows(name.len()).any(|part| part == name) || below("exe") || below("cwd")
}

fn command(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
}

/// Sends a signal to a process of the fixture.
#[track_caller]
pub fn signal(pid: i32, signal: i32) {
    // SAFETY: the call takes two numbers; the process was found to be the fixture's.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "no process {pid}");
}
