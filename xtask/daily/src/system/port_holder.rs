//! Finds the port holder: the process that listens on a port, by the inode of its socket.
//!
//! Processes of other users show their sockets to root only. Of such a port holder only the user
//! is known. Whether a service may adopt the port holder is not decided here.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use xtask_core::stack::BindFailure;
use xtask_core::stack::event::{HolderStack, PortHolder};

use crate::system::group::Leader;
use crate::system::members::{Orphans, pids_of};
use crate::system::tcp::{self, Socket};
use crate::system::{pidfd, proc, supervisors};

/// How often a lookup starts again because the port holder ended meanwhile.
const ATTEMPTS: usize = 5;

#[derive(Debug)]
pub(crate) struct HolderHandle {
    pub(crate) pid: i32,
    /// Names this very process, even after its pid is reused.
    pub(crate) pidfd: OwnedFd,
    /// The ports of the lookup that this process does not hold.
    pub(crate) not_held: Vec<u16>,
}

pub(crate) enum Lookup<T> {
    /// No process listens.
    Free,
    /// The system does not show which process listens.
    Hidden,
    /// The port holder, and its description.
    Found(HolderHandle, T),
}

/// Finds the process that holds the first held port of `addresses`, and describes it. The
/// description is of the process that `HolderHandle::pidfd` names.
pub(crate) fn look_up<T>(
    addresses: &[SocketAddr],
    describe: impl Fn(&HolderHandle) -> T,
) -> Lookup<T> {
    for _ in 0..ATTEMPTS {
        let inodes: Vec<Vec<u64>> = addresses.iter().map(|address| inodes_at(*address)).collect();
        let Some(held) = inodes.iter().find(|inodes| !inodes.is_empty()) else {
            return Lookup::Free;
        };
        let Some(pid) = process_with(held) else { break };
        // The pid may have been reused before the descriptor was opened, so check again.
        let Some(pidfd) = pidfd::open(pid).filter(|_| has_one_of(pid, held)) else { continue };
        let not_held = (addresses.iter().zip(&inodes))
            .filter(|(_, inodes)| !has_one_of(pid, inodes))
            .map(|(address, _)| address.port())
            .collect();
        let holder = HolderHandle { pid, pidfd, not_held };
        let description = describe(&holder);
        if !pidfd::has_ended(&holder.pidfd) {
            return Lookup::Found(holder, description);
        }
    }
    Lookup::Hidden
}

/// Describes the port holder at `address`; none if the system does not show it.
pub fn of(address: SocketAddr) -> Option<PortHolder> {
    match look_up(&[address], |holder| describe(holder.pid)) {
        Lookup::Found(_, description) => Some(description),
        Lookup::Free | Lookup::Hidden => None,
    }
}

/// Why the port at `address` cannot be bound; none if nothing seems to hold it.
pub(crate) fn reason_in_use(address: SocketAddr) -> Option<BindFailure> {
    let port = address.port();
    let held = |holder: Option<PortHolder>, user| {
        let holder = holder.map(Box::new);
        Some(BindFailure::Held { port, holder, user })
    };
    if let Some(holder) = of(address) {
        return held(Some(holder), None);
    }
    // The user is known even if the system hides the process.
    if let Some(listener) = listeners_at(address).first() {
        return held(None, Some(name_of(listener.user)));
    }
    let connections = tcp::connections_at(address);
    let open = || connections.iter().filter(|socket| socket.inode != 0);
    let named = open().find_map(|socket| {
        let holder = describe(process_with(&[socket.inode])?);
        Some(PortHolder { connection: Some(socket.remote.to_string()), ..holder })
    });
    if named.is_some() {
        return held(named, None);
    }
    if let Some(socket) = open().next() {
        return held(None, Some(name_of(socket.user)));
    }
    let remaining = connections.iter().map(|socket| socket.timer).max()?;
    Some(BindFailure::Closing { port, remaining })
}

/// The number of descriptors that a process is read for without a thread of its own.
const FEW_DESCRIPTORS: usize = 128;

/// Whether the leader of a run holds the port at `address`, as far as a few system calls show it.
pub(crate) fn is_held_by(leader: &Leader, address: SocketAddr) -> bool {
    tcp::acceptor(address).is_some_and(|socket| {
        proc::socket_inodes_within(leader.id(), FEW_DESCRIPTORS).any(|inode| inode == socket.inode)
    })
}

/// The member of a run that holds the port at `address`.
pub(crate) fn member_at(address: SocketAddr, leader: &Leader) -> Option<i32> {
    let inodes = inodes_at(address);
    let holds = |pid: &i32| has_one_of(*pid, &inodes);
    // Mostly it is the leader, and then no other process needs to be read.
    Some(leader.id())
        .filter(holds)
        .or_else(|| pids_of(leader, &Orphans::look()).into_iter().find(holds))
}

/// Whether the system denies this user a look at the sockets of a member of a run.
pub(crate) fn hides_sockets(leader: &Leader) -> bool {
    pids_of(leader, &Orphans::look()).into_iter().any(proc::hides_descriptors)
}

/// The process that has one of these sockets open. If several share it, as a server and its
/// workers do, this is their common ancestor.
fn process_with(inodes: &[u64]) -> Option<i32> {
    let mut pid = proc::all().find(|pid| has_one_of(*pid, inodes))?;
    while let Some(parent) = proc::parent(pid).filter(|parent| has_one_of(*parent, inodes)) {
        pid = parent;
    }
    Some(pid)
}

/// The inodes of the sockets that accept connections to `address`.
fn inodes_at(address: SocketAddr) -> Vec<u64> {
    listeners_at(address).into_iter().map(|listener| listener.inode).collect()
}

fn listeners_at(address: SocketAddr) -> Vec<Socket> {
    let mut found = tcp::listening_on(address.port());
    found.retain(|listener| listener.accepts(address));
    // As in the kernel, a listener on the exact address precedes one on a wildcard.
    let is_exact = |listener: &Socket| listener.local.ip() == address.ip();
    if found.iter().any(is_exact) {
        found.retain(is_exact);
    }
    found
}

/// Whether a process has one of these sockets open.
fn has_one_of(pid: i32, inodes: &[u64]) -> bool {
    !inodes.is_empty() && proc::socket_inodes(pid).any(|inode| inodes.contains(&inode))
}

/// Describes a process for a message.
pub(crate) fn describe(pid: i32) -> PortHolder {
    let program =
        proc::executable(pid).map_or_else(|| proc::name(pid), |executable| executable.path);
    PortHolder {
        pid: u32::try_from(pid).unwrap_or_default(),
        program: proc::one_line(&program),
        command: proc::command_line(pid),
        user: user_of(&proc::file(pid, "")),
        connection: None,
        stack: stack_of(pid).map(Box::new),
    }
}

/// The stack whose supervisor is this process or one of its ancestors. The supervisor is also
/// the parent of every process that a service leaves behind.
fn stack_of(pid: i32) -> Option<HolderStack> {
    proc::ancestry(pid).into_iter().find_map(|pid| {
        let found = supervisors::of(pid)?;
        let name = found.folder.file_name()?.to_string_lossy().into_owned();
        let workspace = found.workspace.display().to_string();
        Some(HolderStack { name, workspace, service: None, supervisor: u32::try_from(pid).ok() })
    })
}

fn user_of(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|metadata| name_of(metadata.uid())).unwrap_or_default()
}

/// The name of a user, or its id if it has no name.
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
    fn user_name_is_found_by_id() {
        let passwords = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(user_name(passwords, 1000).as_deref(), Some("ada"));
        assert_eq!(user_name(passwords, 7), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn port_holder_of_own_listener_is_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of(listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.program.is_empty() && !holder.command.is_empty());
        assert!(!holder.user.is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn port_is_held_by_its_process_only() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = |pid: u32| rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        let leader = |id: u32| {
            let spawned = Leader::spawn(crate::system::mark::Mark::Absent, || Ok::<_, ()>(pid(id)));
            spawned.unwrap()
        };
        let held = [child.id(), std::process::id()].map(|id| is_held_by(&leader(id), address));
        child.kill().unwrap();
        child.wait().unwrap();
        let is_shown = tcp::acceptor(address).is_some();
        assert_eq!(held, [false, is_shown]);
    }
}
