//! Queries the sockets of this machine about a stack: which service calls which, and how many
//! callers wait.
//!
//! Sockets of a run's processes are matched by both of their ends. A query is a snapshot:
//! connections that opened and closed in between are missed. It takes as long as the kernel needs
//! to list every connection of this machine. It is prepared where the runs are known, and can run
//! on another thread.

use std::net::SocketAddr;
use std::sync::Arc;
use xtask_core::sorted::{SortedMap, SortedSet};

use xtask_core::calls::{Call, CallState};
use xtask_core::stack::ServiceAddress;
use xtask_core::terms::Name;

use crate::system::group::Leader;
use crate::system::listeners;
use crate::system::members::{Orphans, RunPids, pids_of, stopped_of};
use crate::system::proc;
use crate::system::socket::literal;
use crate::system::tcp::{self, Socket, SocketState};

#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// How many callers wait unaccepted on each listening port, without the supervisor's own
    /// queued requests; empty if the system does not show it.
    pub(crate) waiting: SortedMap<u16, u32>,
    pub(crate) calls: Vec<Call>,
    /// Where runs listen that do not listen at all of their own addresses.
    pub(crate) elsewhere: SortedMap<Name, Vec<String>>,
    /// The process of each run that a signal has stopped.
    pub(crate) stopped: SortedMap<Name, i32>,
    /// Other programs at the other `localhost` of services.
    pub(crate) strangers: SortedMap<Name, Vec<String>>,
}

pub(crate) struct TrafficQuery {
    pub(crate) leaders: Vec<(Arc<Leader>, Name)>,
    pub(crate) addresses: Vec<ServiceAddress>,
    /// How many requests of this process are queued on each port.
    pub(crate) queued: SortedMap<u16, u32>,
}

impl TrafficQuery {
    pub(crate) fn run(self) -> Traffic {
        let mut waiting = tcp::waiting_callers();
        for (port, own) in &self.queued {
            if let Some(all) = waiting.get_mut(port) {
                *all = all.saturating_sub(*own);
            }
        }
        let runs = self.runs();
        let stopped = stopped(&runs);
        let mut calls = between(&runs, &self.addresses);
        let mut elsewhere = listeners::elsewhere(&runs, &self.addresses);
        let strangers = listeners::strangers(&runs, &self.addresses);
        // The pids of a run that was reaped meanwhile may have been reused.
        let ended: Vec<&Name> = (self.leaders.iter())
            .filter_map(|(leader, name)| leader.is_reaped().then_some(name))
            .collect();
        calls.retain(|call| !ended.contains(&&call.from));
        elsewhere.retain(|name, _| !ended.contains(&name));
        Traffic { waiting, calls, elsewhere, stopped, strangers }
    }

    /// Finds stopped processes only.
    pub(crate) fn without_sockets(self) -> Traffic {
        Traffic { stopped: stopped(&self.runs()), ..Traffic::default() }
    }

    fn runs(&self) -> Vec<RunPids> {
        let active = self.leaders.iter().filter(|(leader, _)| !leader.is_reaped());
        let orphans = Orphans::look();
        active.map(|(leader, name)| (name.clone(), pids_of(leader, &orphans))).collect()
    }
}

/// The process of each run that a signal has stopped.
fn stopped(runs: &[RunPids]) -> SortedMap<Name, i32> {
    runs.iter().filter_map(|(name, pids)| Some((name.clone(), stopped_of(pids)?))).collect()
}

struct Outgoing {
    to: Name,
    state: CallState,
}

/// The calls between services, one for each pair. A waiting call takes precedence over an accepted
/// one. `runs` are the active runs, `addresses` those of the services.
fn between(runs: &[RunPids], addresses: &[ServiceAddress]) -> Vec<Call> {
    if runs.is_empty() || addresses.is_empty() {
        return Vec::new();
    }
    let outgoing = outgoing(&tcp::all(), addresses);
    let mut found: SortedMap<(Name, Name), CallState> = SortedMap::new();
    if outgoing.is_empty() {
        return Vec::new();
    }
    for (from, pids) in runs {
        for inode in pids.iter().flat_map(|pid| proc::socket_inodes(*pid)) {
            if let Some(Outgoing { to, state }) = outgoing.get(&inode) {
                let known = found.entry((from.clone(), to.clone())).or_insert(*state);
                *known = (*known).min(*state);
            }
        }
    }
    found.into_iter().map(|((from, to), state)| Call { from, to, state }).collect()
}

/// The connections to one of the addresses, by the inode of the caller's socket.
fn outgoing(sockets: &[Socket], addresses: &[ServiceAddress]) -> SortedMap<u64, Outgoing> {
    let ends = |socket: &Socket| (canonical(socket.local), canonical(socket.remote));
    let unaccepted: SortedSet<(SocketAddr, SocketAddr)> =
        sockets.iter().filter(|socket| is_unaccepted(socket)).map(ends).collect();
    let to = |called: SocketAddr| addresses.iter().find(|address| is_at(address, called));
    let call = |socket: &Socket| {
        let (local, remote) = ends(socket);
        let to = to(remote)?.service.clone();
        let state = match socket.state {
            SocketState::Calling => CallState::Waiting,
            SocketState::Open if unaccepted.contains(&(remote, local)) => CallState::Waiting,
            SocketState::Open => CallState::Accepted,
            SocketState::Listening | SocketState::Called | SocketState::Closing => return None,
        };
        Some((socket.inode, Outgoing { to, state }))
    };
    sockets.iter().filter(|socket| socket.inode != 0).filter_map(call).collect()
}

/// Whether it is the called end of a connection that no process has accepted.
fn is_unaccepted(socket: &Socket) -> bool {
    match socket.state {
        SocketState::Called => true,
        SocketState::Open => socket.inode == 0,
        SocketState::Listening | SocketState::Calling | SocketState::Closing => false,
    }
}

fn is_at(address: &ServiceAddress, called: SocketAddr) -> bool {
    // To resolve a name takes time, and the port is mostly enough.
    let same_host = literal(&address.host)
        .is_none_or(|host| host.is_unspecified() || host.to_canonical() == called.ip());
    address.port == called.port() && same_host
}

/// A connection between an IPv4 and an IPv6 socket shows one address in two spellings.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(local: &str, remote: &str, state: SocketState, inode: u64) -> Socket {
        let timer = std::time::Duration::ZERO;
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        Socket { local, remote, state, user: 0, received: 0, timer, inode }
    }

    fn address(service: &str, host: &str, port: u16) -> ServiceAddress {
        ServiceAddress { service: service.into(), host: host.to_owned(), port }
    }

    fn found(sockets: &[Socket], addresses: &[ServiceAddress]) -> Vec<(u64, String, CallState)> {
        let outgoing = outgoing(sockets, addresses).into_iter();
        outgoing.map(|(inode, call)| (inode, call.to.to_string(), call.state)).collect()
    }

    #[test]
    fn unaccepted_call_waits() {
        use SocketState::{Called, Calling, Open};
        let shop = [address("shop", "127.0.0.1", 80)];
        let both = |inode, state| {
            let caller = socket("127.0.0.1:1000", "127.0.0.1:80", Open, 7);
            let other = socket("[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:1000", state, inode);
            found(&[caller, other], &shop)
        };
        let call = |state| [(7, "shop".to_owned(), state)];
        assert_eq!(both(0, Open), call(CallState::Waiting));
        assert_eq!(both(0, Called), call(CallState::Waiting));
        assert_eq!(both(8, Open), call(CallState::Accepted));
        let calling = socket("127.0.0.1:1000", "127.0.0.1:80", Calling, 7);
        assert_eq!(found(&[calling], &shop), call(CallState::Waiting));
    }

    #[test]
    fn call_goes_to_the_service_of_its_address() {
        let addresses = [address("four", "127.0.0.1", 80), address("six", "::1", 80)];
        let caller = |remote| socket("127.0.0.1:1000", remote, SocketState::Open, 7);
        let to = |remote| found(&[caller(remote)], &addresses).pop().map(|(_, to, _)| to);
        assert_eq!(to("127.0.0.1:80").as_deref(), Some("four"));
        assert_eq!(to("[::1]:80").as_deref(), Some("six"));
        assert_eq!(to("127.0.0.1:81"), None);
        let wide = [address("wide", "0.0.0.0", 80)];
        assert!(!found(&[caller("127.0.0.1:80")], &wide).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn between_reports_calls_of_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let _caller = std::net::TcpStream::connect(own).unwrap();
        let pid = std::process::id().cast_signed();
        let runs = [(Name::from("caller"), vec![pid])];
        let called = [address("called", "127.0.0.1", own.port())];
        let state = |state| [Call { from: "caller".into(), to: "called".into(), state }];
        assert_eq!(between(&runs, &called), state(CallState::Waiting));
        let _accepted = listener.accept().unwrap();
        assert_eq!(between(&runs, &called), state(CallState::Accepted));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn sockets_are_listed_only_if_they_are_asked_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let query = || TrafficQuery {
            leaders: Vec::new(),
            addresses: Vec::new(),
            queued: SortedMap::new(),
        };
        assert!(query().run().waiting.contains_key(&port));
        assert!(query().without_sockets().waiting.is_empty());
    }
}
