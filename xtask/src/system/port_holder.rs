//! Which process holds a port: found by the number of its listening socket.
//!
//! It only looks; processes of other users show their sockets to root alone, and
//! then only the user that the socket belongs to is known. Whether a holder may stand
//! in a service's place is found out from what `stranger` sees, and not here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use xtask_core::stack::event::{HolderStack, PortHolder};

use crate::system::listeners::Listener;
use crate::system::{group, listeners, tcp};

/// Whoever listens where a call to `address` ends, as far as the system tells.
pub(crate) fn of(address: SocketAddr) -> Option<PortHolder> {
    process_with(&sockets_at(address)).map(describe)
}

/// The user to whom the listener at `address` belongs.
pub(crate) fn user_at(address: SocketAddr) -> Option<String> {
    listeners_at(address).first().map(|listener| name_of(listener.user))
}

/// The process that has one of these sockets. Of several that share it, as a server and
/// its workers do, it is the one that the others descend from.
pub(crate) fn process_with(inodes: &[u64]) -> Option<i32> {
    let mut pid = group::processes().find(|pid| has_one_of(*pid, inodes))?;
    while let Some(parent) = group::parent_of(pid).filter(|parent| has_one_of(*parent, inodes)) {
        pid = parent;
    }
    Some(pid)
}

/// Whether the listener at `address` belongs to a member of the group.
pub(crate) fn is_in_group(address: SocketAddr, leader: i32) -> bool {
    let inodes = sockets_at(address);
    // Mostly it is the leader itself, which spares a look at every process.
    has_one_of(leader, &inodes)
        || group::members(leader).into_iter().any(|pid| has_one_of(pid, &inodes))
}

/// Whether a member of the group has descriptors that we may not see.
pub(crate) fn hides_in_group(leader: i32) -> bool {
    group::members(leader).into_iter().any(tcp::hides)
}

/// The numbers of the sockets that take calls to `address`.
pub(crate) fn sockets_at(address: SocketAddr) -> Vec<u64> {
    listeners_at(address).into_iter().map(|listener| listener.inode).collect()
}

fn listeners_at(address: SocketAddr) -> Vec<Listener> {
    let mut found = listeners::all();
    found.retain(|listener| listener.takes_calls_to(address));
    // The kernel prefers the exact address to a wildcard, and so do we.
    found.sort_by_key(|listener| listener.address.ip() != address.ip());
    let exact = found.first().is_some_and(|first| first.address.ip() == address.ip());
    found
        .into_iter()
        .take_while(|listener| !exact || listener.address.ip() == address.ip())
        .collect()
}

/// Whether a process has one of these sockets.
pub(crate) fn has_one_of(pid: i32, inodes: &[u64]) -> bool {
    !inodes.is_empty() && tcp::held_by(pid).any(|number| inodes.contains(&number))
}

/// A process for people.
pub(crate) fn describe(pid: i32) -> PortHolder {
    let of_process = |file: &str| PathBuf::from(format!("/proc/{pid}/{file}"));
    let read = |file: &str| std::fs::read(of_process(file)).unwrap_or_default();
    let program = executable(pid).map_or_else(
        || String::from_utf8_lossy(&read("comm")).trim_end().to_owned(),
        |(path, _)| path,
    );
    PortHolder {
        pid: u32::try_from(pid).unwrap_or_default(),
        program,
        command: arguments(pid).join(" "),
        user: user_of(&of_process("")),
        stack: stack_of(pid).map(Box::new),
    }
}

/// The path of a process's executable, and whether it leads there no more.
pub(crate) fn executable(pid: i32) -> Option<(String, bool)> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.to_string_lossy();
    Some(match path.strip_suffix(" (deleted)") {
        Some(path) => (path.to_owned(), true),
        None => (path.into_owned(), false),
    })
}

/// The command line of a process, its own name first.
pub(crate) fn arguments(pid: i32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    if line.is_empty() {
        return Vec::new();
    }
    let words = line.split(|&byte| byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The stack whose supervisor a process is or descends from: whatever a service leaves
/// behind becomes its supervisor's child.
fn stack_of(pid: i32) -> Option<HolderStack> {
    group::ancestry(pid).into_iter().find_map(|pid| {
        let (name, workspace) = supervised(&arguments(pid))?;
        Some(HolderStack { name, workspace, supervisor: u32::try_from(pid).ok() })
    })
}

/// The name of a stack and its workspace, as they stand in its supervisor's command line.
fn supervised(arguments: &[String]) -> Option<(String, String)> {
    if arguments.get(1)? != "supervise" {
        return None;
    }
    let value = |flag: &str| arguments.get(arguments.iter().position(|a| a == flag)? + 1);
    let folder = Path::new(value("--stack-dir")?);
    let name = folder.file_name()?.to_string_lossy().into_owned();
    Some((name, value("--workspace")?.clone()))
}

/// The name of the user that owns `path`, or its number.
fn user_of(path: &std::path::Path) -> String {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|metadata| name_of(metadata.uid())).unwrap_or_default()
}

/// The name of a user, or the number.
fn name_of(user: u32) -> String {
    let passwords = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    user_name(&passwords, user).unwrap_or_else(|| user.to_string())
}

fn user_name(passwords: &str, uid: u32) -> Option<String> {
    passwords.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_is_known_by_its_command_line() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let stack = ("dev".to_owned(), "/w/shop".to_owned());
        let line = "/t/xtask supervise --stack-dir /s/shop-1/dev --workspace /w/shop";
        assert_eq!(supervised(&words(line)), Some(stack));
        for other in ["xtask up", "vim supervise", "xtask supervise --stack-dir /s/dev", "x"] {
            assert_eq!(supervised(&words(other)), None, "{other}");
        }
    }

    #[test]
    fn a_user_is_found_by_number() {
        let passwords = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(user_name(passwords, 1000).as_deref(), Some("ada"));
        assert_eq!(user_name(passwords, 7), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_holder_of_our_own_listener_is_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of(listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.program.is_empty() && !holder.command.is_empty());
        assert!(!holder.user.is_empty());
    }
}
