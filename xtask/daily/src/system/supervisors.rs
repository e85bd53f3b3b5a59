//! Finds the supervisors of this user without their files: by command line, and by the table of
//! Unix sockets.
//!
//! The files may have been deleted, or be in the folder of a workspace that has moved.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::system::proc;

/// The name of the thread of a guardian, which has the command line of its supervisor.
pub(crate) const GUARDIAN: &str = "xtask-guardian";

/// The name of the thread of a sweeper that the guardian forked.
pub(crate) const SWEEPER: &str = "xtask-sweeper";

/// The name of the control socket in the folder of a stack's sockets.
pub(crate) const CONTROL: &str = "control";

/// A listening socket in the fourth column of `/proc/net/unix`.
const LISTENING: &str = "00010000";

/// Gives the thread that calls it the name of a companion.
pub(crate) fn be_called(companion: &str) {
    let _ = std::fs::write("/proc/thread-self/comm", companion);
}

/// A supervisor, by the command line that it was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorProcess {
    pub pid: i32,
    /// The folder of its stack.
    pub folder: PathBuf,
    /// The root of its workspace at its start.
    pub workspace: PathBuf,
    /// What a rename of the root keeps.
    pub identity: Option<String>,
}

/// The supervisors of this user in this pid namespace.
pub fn all() -> impl Iterator<Item = SupervisorProcess> {
    proc::all().filter_map(of).filter(|found| {
        let owner = std::fs::metadata(proc::file(found.pid, "")).map(|process| process.uid());
        owner.is_ok_and(|owner| owner == geteuid().as_raw())
            && !is_companion(found.pid)
            && proc::running_stat(found.pid).is_some()
            && proc::shares_pid_namespace(found.pid)
    })
}

/// The process as a supervisor, or as its guardian or forked sweeper.
pub(crate) fn of(pid: i32) -> Option<SupervisorProcess> {
    parse(pid, &proc::arguments(pid))
}

fn parse(pid: i32, arguments: &[String]) -> Option<SupervisorProcess> {
    if arguments.get(1)? != "supervise" {
        return None;
    }
    let value = |flag: &str| arguments.get(arguments.iter().position(|a| a == flag)? + 1);
    Some(SupervisorProcess {
        pid,
        folder: value("--stack-dir")?.into(),
        workspace: value("--workspace")?.into(),
        identity: value("--workspace-identity").cloned(),
    })
}

fn is_companion(pid: i32) -> bool {
    let name = proc::name(pid);
    [GUARDIAN, SWEEPER].iter().any(|companion| name == **companion)
}

/// The path of the control socket that the supervisor of the stack with this short name listens
/// on. The folder of the socket must be one that only this user can enter.
pub(crate) fn control_socket(short_name: &str) -> Option<PathBuf> {
    let table = std::fs::read("/proc/net/unix").ok()?;
    sockets(&String::from_utf8_lossy(&table), short_name).find(|socket| {
        let folder = socket.parent().map(std::fs::symlink_metadata);
        folder.is_some_and(|folder| {
            folder.is_ok_and(|folder| {
                folder.is_dir() && folder.uid() == geteuid().as_raw() && folder.mode() & 0o077 == 0
            })
        })
    })
}

/// The listening control sockets of a stack in a table of Unix sockets.
fn sockets<'a>(table: &'a str, short_name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    table.lines().skip(1).filter_map(move |line| {
        // The path is the last column, and may contain blanks.
        let (columns, path) = line.split_at(line.find(" /")?);
        let path = Path::new(&path[1..]);
        let is_listening = columns.split_ascii_whitespace().nth(3) == Some(LISTENING);
        let is_control = path.ends_with(Path::new(short_name).join(CONTROL));
        (is_listening && is_control).then(|| path.to_path_buf())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supervisor_is_recognised_by_its_command_line() {
        let found = |line: &str| {
            parse(7, &line.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .map(|found| (found.folder, found.workspace, found.identity))
        };
        let line = "/t/xtask supervise --stack-dir /s/shop-1/dev --workspace /w/shop";
        let (folder, workspace) = (PathBuf::from("/s/shop-1/dev"), PathBuf::from("/w/shop"));
        assert_eq!(found(line), Some((folder.clone(), workspace.clone(), None)));
        let line = format!("{line} --workspace-identity 7-1");
        assert_eq!(found(&line), Some((folder, workspace, Some("7-1".to_owned()))));
        for other in ["xtask up", "vim supervise", "xtask supervise --stack-dir /s/dev", "x"] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn control_socket_is_found_in_the_table() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0001: 00000002 00000000 00010000 0001 01  43 /run/a b/xtask/1f/control\n\
            0002: 00000003 00000000 00000000 0001 03  44 /run/other/1f/control\n\
            0003: 00000002 00000000 00010000 0001 01  45 /run/xtask/2f/control\n\
            0004: 00000002 00000000 00010000 0001 01  46 @/abstract/1f/control\n\
            0005: 00000002 00000000 00010000 0001 01  47\n";
        let found: Vec<_> = sockets(table, "1f").collect();
        assert_eq!(found, [PathBuf::from("/run/a b/xtask/1f/control")]);
    }

    #[test]
    fn socket_in_an_open_folder_is_ignored() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let name = format!("open-{}", std::process::id());
        let parent = folder.path().join(&name);
        std::fs::create_dir(&parent).unwrap();
        let set_mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&parent, mode).unwrap();
        };
        let socket = parent.join(CONTROL);
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        set_mode(0o755);
        assert_eq!(control_socket(&name), None);
        set_mode(0o700);
        assert_eq!(control_socket(&name), Some(socket));
    }
}
