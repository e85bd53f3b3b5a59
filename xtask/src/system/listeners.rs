//! Listening sockets, and how many callers each has not accepted.
//!
//! See [`crate::system::port_holder`] for the process of a listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::system::tcp::{self, Socket, SocketState};

impl Socket {
    /// Whether this listener accepts connections to `address`.
    pub(crate) fn accepts(&self, address: SocketAddr) -> bool {
        let (own, called) = (self.local.ip(), address.ip().to_canonical());
        let same_kind = own.is_ipv4() == called.is_ipv4();
        self.local.port() == address.port()
            && (own.to_canonical() == called
                // An IPv6 wildcard also accepts IPv4, unless its socket is set to IPv6 only.
                || (own.is_unspecified() && (same_kind || own.is_ipv6()))
                || called.is_unspecified())
    }
}

/// Whether a port has a listener in the network namespace of a process; none if the system does
/// not show it.
pub(crate) fn listens_in(pid: u32, port: u16) -> Option<bool> {
    let mut sockets = tcp::in_namespace_of(pid)?;
    Some(
        sockets.any(|socket| socket.state == SocketState::Listening && socket.local.port() == port),
    )
}

/// How many callers wait unaccepted on each listening port of this network namespace.
pub(crate) fn waiting_callers() -> BTreeMap<u16, u32> {
    let mut waiting: BTreeMap<u16, u32> = BTreeMap::new();
    for listener in tcp::listening() {
        let of_port = waiting.entry(listener.local.port()).or_default();
        *of_port = of_port.saturating_add(listener.received);
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_listener_accepts_other_addresses() {
        let listener = |text: &str| Socket {
            local: text.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            state: SocketState::Listening,
            user: 0,
            received: 0,
            inode: 0,
        };
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
