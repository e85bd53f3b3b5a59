//! Who listens on which port, and how many callers wait there unaccepted, as
//! `/proc/net/tcp` and `/proc/net/tcp6` tell.
//!
//! Parsing is apart from reading. A system without these files yields no listeners;
//! which process a listener belongs to is found elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Where.
    pub(crate) address: SocketAddr,
    /// The socket's number, as the links in `/proc/PID/fd` show it.
    pub(crate) inode: u64,
    /// Connections made and not accepted yet.
    pub(crate) waiting: u32,
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

/// Every listener of this machine (of this network namespace).
pub(crate) fn all() -> Vec<Listener> {
    let mut all = Vec::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        if let Ok(text) = std::fs::read_to_string(table) {
            all.extend(parse(&text));
        }
    }
    all
}

/// How many callers wait unaccepted on a port of this machine; none if nobody listens.
pub(crate) fn waiting_callers(port: u16) -> Option<u32> {
    let of_port = all().into_iter().filter(|listener| listener.address.port() == port);
    of_port.map(|listener| listener.waiting).reduce(u32::saturating_add)
}

/// The listeners in the text of one table; lines that cannot be read are skipped.
pub(crate) fn parse(table: &str) -> impl Iterator<Item = Listener> {
    table.lines().filter_map(line)
}

/// The state of a listening socket, as the table writes it.
const LISTEN: &str = "0A";

fn line(line: &str) -> Option<Listener> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let local = words.next()?;
    let _remote = words.next()?;
    if words.next()? != LISTEN {
        return None;
    }
    // For a listener the receive queue counts connections instead of bytes.
    let (_, waiting) = words.next()?.split_once(':')?;
    let waiting = u32::from_str_radix(waiting, 16).ok()?;
    let inode = words.nth(4)?.parse().ok()?;
    Some(Listener { address: address(local)?, inode, waiting })
}

/// `0100007F:1388`: the address in words of the machine's byte order, the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for start in (0..host.len()).step_by(8) {
        let word = u32::from_str_radix(host.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => Ipv4Addr::from(four).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into(),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1388 0100007F:D431 01 00000000:00000010 00:00000000 00000000  1000        0 31338 1 0000000000000000 20 4 30 10 -1
   2: broken
";
    const TABLE_6: &str = "\
   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0 100 0 0 10 0
   1: 00000000000000000000000000000000:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 43 1 0 100 0 0 10 0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn listeners_are_read_with_their_waiting_callers_and_nothing_else_is() {
        let four: Vec<_> = parse(TABLE).collect();
        let address = "127.0.0.1:5000".parse().unwrap();
        assert_eq!(four, [Listener { address, inode: 31337, waiting: 3 }]);
        let six: Vec<_> = parse(TABLE_6).map(|l| (l.address.to_string(), l.inode)).collect();
        assert_eq!(six, [("[::1]:3000".to_owned(), 42), ("[::]:3001".to_owned(), 43)]);
    }

    #[test]
    fn a_wildcard_takes_calls_of_both_versions_and_an_address_only_its_own() {
        let listener =
            |text: &str| Listener { address: text.parse().unwrap(), inode: 0, waiting: 0 };
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
        assert_eq!(waiting_callers(address.port()), Some(0));
        let _callers: Vec<_> =
            (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        assert_eq!(waiting_callers(address.port()), Some(3));
        let _accepted = listener.accept().unwrap();
        assert_eq!(waiting_callers(address.port()), Some(2));
    }
}
