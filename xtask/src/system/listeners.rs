//! Listening sockets, and how many callers each has not accepted.
//!
//! See [`crate::system::port_holder`] for the process of a listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::system::tcp::{self, Socket, SocketState};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) inode: u64,
    /// Established connections that the listener has not accepted.
    pub(crate) waiting: u32,
    /// Id of the user that it belongs to.
    pub(crate) user: u32,
}

impl Listener {
    /// Whether this listener accepts connections to `address`.
    pub(crate) fn accepts(&self, address: SocketAddr) -> bool {
        let (own, called) = (self.address.ip(), address.ip().to_canonical());
        let same_kind = own.is_ipv4() == called.is_ipv4();
        self.address.port() == address.port()
            && (own.to_canonical() == called
                // An IPv6 wildcard also accepts IPv4, unless its socket is set to IPv6 only.
                || (own.is_unspecified() && (same_kind || own.is_ipv6()))
                || called.is_unspecified())
    }
}

/// Every listener of this network namespace.
pub(crate) fn all() -> Vec<Listener> {
    tcp::listening().into_iter().filter_map(listener).collect()
}

fn listener(socket: Socket) -> Option<Listener> {
    let Socket { local: address, state, received: waiting, inode, user, .. } = socket;
    (state == SocketState::Listening).then_some(Listener { address, inode, waiting, user })
}

/// Whether a port has a listener in the network namespace of a process; none if the system does
/// not show it.
pub(crate) fn listens_in(pid: u32, port: u16) -> Option<bool> {
    let mut listeners = tcp::in_namespace_of(pid)?.filter_map(listener);
    Some(listeners.any(|listener| listener.address.port() == port))
}

/// How many callers wait unaccepted on each listening port of this network namespace.
pub(crate) fn waiting_callers() -> BTreeMap<u16, u32> {
    let mut waiting: BTreeMap<u16, u32> = BTreeMap::new();
    for listener in all() {
        let of_port = waiting.entry(listener.address.port()).or_default();
        *of_port = of_port.saturating_add(listener.waiting);
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_listener_accepts_other_addresses() {
        let listener =
            |text: &str| Listener { address: text.parse().unwrap(), inode: 0, waiting: 0, user: 0 };
        let accepts = |own: &str, called: &str| listener(own).accepts(called.parse().unwrap());
        assert!(accepts("127.0.0.1:1", "127.0.0.1:1"));
        assert!(accepts("0.0.0.0:1", "127.0.0.1:1"));
        assert!(accepts("[::]:1", "127.0.0.1:1"));
        assert!(accepts("[::]:1", "[::1]:1"));
        assert!(!accepts("[::1]:1", "127.0.0.1:1"));
        assert!(!accepts("0.0.0.0:1", "[::1]:1"));
        assert!(!accepts("127.0.0.1:1", "127.0.0.1:2"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn waiting_callers_counts_unaccepted_connections() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(waiting_callers().get(&address.port()).copied(), Some(0));
        let _callers: Vec<_> =
            (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        assert_eq!(waiting_callers().get(&address.port()).copied(), Some(3));
        let _accepted = listener.accept().unwrap();
        assert_eq!(waiting_callers().get(&address.port()).copied(), Some(2));
    }
}
