//! Which service's processes have open connections to which service's ports, and whether
//! those were accepted: sockets that a group's processes hold, matched by both ends.
//!
//! It looks once, at what is open in that moment; a connection that came and went is not
//! seen. What follows from a call is not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use xtask_core::calls::{Call, CallState};
use xtask_core::stack::ServiceAddress;
use xtask_core::terms::Name;

use crate::system::tcp::{Socket, SocketState};
use crate::system::{group, tcp};

/// An outgoing connection to a service of the stack.
struct Outgoing {
    to: Name,
    state: CallState,
}

/// Who calls whom: `groups` are the leaders of the living runs, `addresses` where services
/// can be called. One call for each pair; one that waits counts before those that do not.
///
/// It takes as long as the system needs to write down every connection of this machine.
pub(crate) fn between(groups: &BTreeMap<i32, Name>, addresses: &[ServiceAddress]) -> Vec<Call> {
    if groups.is_empty() || addresses.is_empty() {
        return Vec::new();
    }
    let outgoing = outgoing(&tcp::all(), addresses);
    let mut found: BTreeMap<(Name, Name), CallState> = BTreeMap::new();
    if outgoing.is_empty() {
        return Vec::new();
    }
    for (pid, group) in group::members_of_all_groups() {
        let Some(from) = groups.get(&group) else { continue };
        for inode in tcp::held_by(pid) {
            if let Some(Outgoing { to, state }) = outgoing.get(&inode) {
                let known = found.entry((from.clone(), to.clone())).or_insert(*state);
                *known = (*known).min(*state);
            }
        }
    }
    found.into_iter().map(|((from, to), state)| Call { from, to, state }).collect()
}

/// The connections to one of the addresses, by the number of the caller's socket.
fn outgoing(sockets: &[Socket], addresses: &[ServiceAddress]) -> BTreeMap<u64, Outgoing> {
    let ends = |socket: &Socket| (canonical(socket.local), canonical(socket.remote));
    let unaccepted: BTreeSet<(SocketAddr, SocketAddr)> =
        sockets.iter().filter(|socket| is_unaccepted(socket)).map(ends).collect();
    let to = |called: SocketAddr| addresses.iter().find(|address| takes(address, called));
    let call = |socket: &Socket| {
        let (local, remote) = ends(socket);
        let to = to(remote)?.service.clone();
        let state = match socket.state {
            SocketState::Calling => CallState::Waiting,
            SocketState::Open if unaccepted.contains(&(remote, local)) => CallState::Waiting,
            SocketState::Open => CallState::Accepted,
            SocketState::Listening | SocketState::Called => return None,
        };
        Some((socket.inode, Outgoing { to, state }))
    };
    sockets.iter().filter(|socket| socket.inode != 0).filter_map(call).collect()
}

/// Whether it is the called end of a connection that no process has got.
fn is_unaccepted(socket: &Socket) -> bool {
    match socket.state {
        SocketState::Called => true,
        SocketState::Open => socket.inode == 0,
        SocketState::Listening | SocketState::Calling => false,
    }
}

fn takes(address: &ServiceAddress, called: SocketAddr) -> bool {
    let host = match &*address.host {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        host => host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok(),
    };
    // A name would have to be looked up, and the number is mostly enough.
    let same_host =
        host.is_none_or(|host| host.is_unspecified() || host.to_canonical() == called.ip());
    address.port == called.port() && same_host
}

/// Sockets of both versions show one connection with an address in two spellings.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(local: &str, remote: &str, state: SocketState, inode: u64) -> Socket {
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        Socket { local, remote, state, user: 0, received: 0, inode }
    }

    fn address(service: &str, host: &str, port: u16) -> ServiceAddress {
        ServiceAddress { service: service.into(), host: host.to_owned(), port }
    }

    fn found(sockets: &[Socket], addresses: &[ServiceAddress]) -> Vec<(u64, String, CallState)> {
        let outgoing = outgoing(sockets, addresses).into_iter();
        outgoing.map(|(inode, call)| (inode, call.to.to_string(), call.state)).collect()
    }

    #[test]
    fn a_call_waits_while_no_process_has_the_other_end() {
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
        let knocking = socket("127.0.0.1:1000", "127.0.0.1:80", Calling, 7);
        assert_eq!(found(&[knocking], &shop), call(CallState::Waiting));
    }

    #[test]
    fn a_call_goes_to_whom_the_address_belongs() {
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
    fn the_calls_of_this_process_are_seen_with_their_state() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let _caller = std::net::TcpStream::connect(own).unwrap();
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        let groups = BTreeMap::from([(group, Name::from("caller"))]);
        let called = [address("called", "127.0.0.1", own.port())];
        let state = |state| [Call { from: "caller".into(), to: "called".into(), state }];
        assert_eq!(between(&groups, &called), state(CallState::Waiting));
        let _accepted = listener.accept().unwrap();
        assert_eq!(between(&groups, &called), state(CallState::Accepted));
    }
}
