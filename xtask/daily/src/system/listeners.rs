//! Finds listeners that are not where callers look: of a run, on another address than its own;
//! of another program, at the other `localhost` of a service.
//!
//! Every answer is a snapshot. Processes are read only if the tables of sockets give a reason.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use xtask_core::sorted::{SortedMap, SortedSet};

use xtask_core::stack::ServiceAddress;
use xtask_core::terms::Name;
use xtask_core::terms::host::callable_address;

use crate::system::members::RunPids;
use crate::system::socket::literal;
use crate::system::tcp::{self, Socket};
use crate::system::{port_holder, proc};

/// Where runs listen that do not listen at all of their own addresses.
pub(crate) fn elsewhere(
    runs: &[RunPids],
    addresses: &[ServiceAddress],
) -> SortedMap<Name, Vec<String>> {
    let listening = tcp::listening();
    let has_listener = |address: &ServiceAddress| match socket_address(address) {
        Some(called) => listening.iter().any(|socket| socket.accepts(called)),
        // To resolve a name takes time.
        None => true,
    };
    let deaf: SortedSet<&Name> = (addresses.iter())
        .filter(|address| !has_listener(address))
        .map(|address| &address.service)
        .collect();
    let mut found: SortedMap<Name, Vec<String>> = SortedMap::new();
    if deaf.is_empty() {
        return found;
    }
    let mut by_inode: SortedMap<u64, String> = tcp::listening_unix();
    let is_expected = |socket: &&Socket| {
        addresses.iter().filter_map(socket_address).any(|called| socket.accepts(called))
    };
    let unexpected = listening.iter().filter(|socket| !is_expected(socket));
    by_inode.extend(unexpected.map(|socket| (socket.inode, shown(socket.local))));
    for (service, pids) in runs.iter().filter(|(service, _)| deaf.contains(service)) {
        // The leader precedes a child that inherited its socket.
        for (position, pid) in pids.iter().enumerate() {
            for inode in proc::socket_inodes(*pid) {
                let Some(at) = by_inode.remove(&inode) else { continue };
                let at = if position == 0 { at } else { format!("{at} ({})", child(*pid)) };
                found.entry(service.clone()).or_default().push(at);
            }
        }
    }
    found
}

fn child(pid: i32) -> String {
    format!("its child `{}`, pid {pid}", proc::name(pid))
}

/// Other programs at the other `localhost` of a service: on `::1` beside 127.0.0.1, or the other
/// way round. `runs` are those of the stack, each with its leader
/// at least.
pub(crate) fn strangers(
    runs: &[RunPids],
    addresses: &[ServiceAddress],
) -> SortedMap<Name, Vec<String>> {
    let listening = tcp::listening();
    let mut found: SortedMap<Name, Vec<String>> = SortedMap::new();
    for address in addresses {
        let Some(own) = socket_address(address) else { continue };
        let Some(other) = other_localhost(own) else { continue };
        let is_stranger =
            |socket: &&Socket| socket.accepts(other) && !socket.accepts(own) && socket.inode != 0;
        let Some(socket) = listening.iter().find(is_stranger) else { continue };
        let at = shown(socket.local);
        let text = match port_holder::of(other) {
            Some(holder) if is_member(runs, holder.pid, &address.service) => continue,
            Some(holder) => format!(
                "{at} is held by `{}` (pid {}, user {}): `{}`",
                holder.program, holder.pid, holder.user, holder.command
            ),
            None => format!("{at} is held by a program of another user"),
        };
        let text = format!("{text}; `localhost` may lead there");
        found.entry(address.service.clone()).or_default().push(text);
    }
    found
}

fn is_member(runs: &[RunPids], pid: u32, service: &Name) -> bool {
    let line = proc::ancestry(pid.cast_signed());
    let mut pids = runs.iter().filter(|(name, _)| name == service).flat_map(|(_, pids)| pids);
    pids.any(|pid| line.contains(pid))
}

fn socket_address(address: &ServiceAddress) -> Option<SocketAddr> {
    Some(callable_address(SocketAddr::new(literal(&address.host)?, address.port)))
}

fn other_localhost(own: SocketAddr) -> Option<SocketAddr> {
    let other: IpAddr = match own.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    Some(SocketAddr::new(other, own.port()))
}

/// An IPv4 address in the spelling of IPv4, whatever the family of its socket.
fn shown(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn own_run() -> [RunPids; 1] {
        [("own".into(), vec![std::process::id().cast_signed()])]
    }

    fn address(host: &str, port: u16) -> [ServiceAddress; 1] {
        [ServiceAddress { service: "own".into(), host: host.to_owned(), port }]
    }

    #[test]
    fn listener_beside_the_declared_address_is_named() {
        let (folder, unused) = (tempfile::tempdir().unwrap(), free_port());
        let path = folder.path().join("own.sock");
        let _unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.2:0").unwrap();
        let at = tcp.local_addr().unwrap();
        let found = elsewhere(&own_run(), &address("127.0.0.1", unused));
        let listed = found["own"].join(" ");
        assert!(listed.contains(&at.to_string()), "{listed}");
        assert!(listed.contains(&format!("Unix socket `{}`", path.display())), "{listed}");
        let own = address("127.0.0.2", at.port());
        assert!(elsewhere(&own_run(), &own).is_empty(), "it listens where callers look");
    }

    #[test]
    fn stranger_at_the_other_localhost_is_named() {
        let Ok(stranger) = TcpListener::bind("[::1]:0") else { return };
        let at = stranger.local_addr().unwrap();
        let service = address("127.0.0.1", at.port());
        let found = strangers(&[], &service);
        let text = &found["own"][0];
        let start = format!("{at} is held by `");
        assert!(text.starts_with(&start) && text.contains("localhost"), "{text}");
        assert!(strangers(&own_run(), &service).is_empty(), "the run itself is no stranger");
        assert!(strangers(&[], &address("127.0.0.2", at.port())).is_empty());
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }
}
