//! Who listens on which port, and how many callers wait there unaccepted.
//!
//! Which process a listener belongs to is found elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::system::tcp;
use crate::system::tcp::{Socket, SocketState};

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Where.
    pub(crate) address: SocketAddr,
    /// The socket's number, as the links in `/proc/PID/fd` show it.
    pub(crate) inode: u64,
    /// Connections made and not accepted yet.
    pub(crate) waiting: u32,
    /// The number of the user that it belongs to.
    pub(crate) user: u32,
}

impl Listener {
    /// Whether a call to `address` can end at this listener.
    pub(crate) fn takes_calls_to(&self, address: SocketAddr) -> bool {
        let (own, called) = (self.address.ip(), address.ip().to_canonical());
        let same_kind = own.is_ipv4() == called.is_ipv4();
        self.address.port() == address.port()
            && (own.to_canonical() == called
                // A wildcard of version 6 takes calls of both, unless it was told not to.
                || (own.is_unspecified() && (same_kind || own.is_ipv6()))
                || called.is_unspecified())
    }
}

/// Every listener there is.
pub(crate) fn all() -> Vec<Listener> {
    tcp::listening().into_iter().filter_map(listener).collect()
}

fn listener(socket: Socket) -> Option<Listener> {
    let Socket { local: address, state, received: waiting, inode, user, .. } = socket;
    (state == SocketState::Listening).then_some(Listener { address, inode, waiting, user })
}

/// Whether somebody listens on a port in the network of that process; none if the system
/// does not tell.
pub(crate) fn listens_in(pid: u32, port: u16) -> Option<bool> {
    let table = |table: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{table}"));
    let text = [table("tcp").ok()?, table("tcp6").unwrap_or_default()];
    let mut listeners = text.iter().flat_map(|text| tcp::parse(text)).filter_map(listener);
    Some(listeners.any(|listener| listener.address.port() == port))
}

/// How many callers wait unaccepted on each port of this machine that somebody listens on.
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
    fn a_wildcard_takes_calls_of_both_versions_and_an_address_only_its_own() {
        let listener =
            |text: &str| Listener { address: text.parse().unwrap(), inode: 0, waiting: 0, user: 0 };
        let takes = |own: &str, called: &str| listener(own).takes_calls_to(called.parse().unwrap());
        assert!(takes("127.0.0.1:1", "127.0.0.1:1"));
        assert!(takes("0.0.0.0:1", "127.0.0.1:1"));
        assert!(takes("[::]:1", "127.0.0.1:1"));
        assert!(takes("[::]:1", "[::1]:1"));
        assert!(!takes("[::1]:1", "127.0.0.1:1"));
        assert!(!takes("0.0.0.0:1", "[::1]:1"));
        assert!(!takes("127.0.0.1:1", "127.0.0.1:2"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn callers_that_nobody_accepts_are_counted() {
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
