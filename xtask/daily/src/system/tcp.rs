//! Lists TCP sockets of a network namespace, and how many callers each listener has not accepted;
//! the listeners in `/proc/net/unix`.
//!
//! Connections are read from `/proc/net/tcp` and `/proc/net/tcp6`, listeners too if the kernel does
//! not list them faster. A system without these files reports no sockets. No list names processes;
//! see [`crate::system::port_holder`].

#[cfg(target_os = "linux")]
mod diag;

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use xtask_core::sorted::SortedMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: SocketState,
    /// Id of the user that it belongs to.
    pub(crate) user: u32,
    /// Bytes received and not read; of a listener, connections not accepted.
    pub(crate) received: u32,
    /// The time until the system's next action: of a socket in `TIME_WAIT`, its removal.
    pub(crate) timer: Duration,
    /// The inode, as the links in `/proc/PID/fd` show it; 0 if no process has the socket open, as
    /// with a connection that was not accepted.
    pub(crate) inode: u64,
}

impl Socket {
    pub(crate) fn is_closing(&self) -> bool {
        self.state == SocketState::Closing
    }

    /// Whether this listener accepts connections to `address`; of a connection, whether its own
    /// end keeps that address in use.
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

/// The kernel's states, reduced to those that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketState {
    Listening,
    /// `SYN_SENT`: it has called, and got no answer.
    Calling,
    /// `SYN_RECV`: it was called, and the handshake is incomplete.
    Called,
    /// `ESTABLISHED` or `CLOSE_WAIT`.
    Open,
    /// Any other state: this end has closed the connection.
    Closing,
}

/// The tables as a process sees them, `PID` or `self`.
fn tables(process: impl Display) -> [String; 2] {
    ["tcp", "tcp6"].map(|table| format!("/proc/{process}/net/{table}"))
}

/// Every socket of this network namespace that is not closing. Many short connections leave
/// megabytes of closing sockets in the tables, so the tables are read line by line.
pub(crate) fn all() -> Vec<Socket> {
    parse(tables("self").into_iter().flat_map(lines))
        .filter(|socket| !socket.is_closing())
        .collect()
}

/// The connections of this network namespace that keep a port at `address` in use.
pub(crate) fn connections_at(address: SocketAddr) -> Vec<Socket> {
    let all = parse(tables("self").into_iter().flat_map(lines));
    let connections = all.filter(|socket| socket.state != SocketState::Listening);
    connections.filter(|socket| socket.accepts(address)).collect()
}

/// The listening sockets of this network namespace.
pub(crate) fn listening() -> Vec<Socket> {
    diagnosed(None).unwrap_or_else(listed)
}

/// The sockets of this network namespace that listen on a port, whatever their address.
pub(crate) fn listening_on(port: u16) -> Vec<Socket> {
    diagnosed(Some(port)).unwrap_or_else(|| {
        let mut found = listed();
        found.retain(|listener| listener.local.port() == port);
        found
    })
}

/// The socket that accepts connections to an address, one of them if several share it; none also
/// if the kernel does not show it this fast.
#[cfg(target_os = "linux")]
pub(crate) fn acceptor(address: SocketAddr) -> Option<Socket> {
    diag::acceptor(address)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn acceptor(_address: SocketAddr) -> Option<Socket> {
    None
}

#[cfg(target_os = "linux")]
fn diagnosed(port: Option<u16>) -> Option<Vec<Socket>> {
    diag::listening(port)
}

#[cfg(not(target_os = "linux"))]
fn diagnosed(_port: Option<u16>) -> Option<Vec<Socket>> {
    None
}

/// The listening sockets in the tables. The kernel lists them first, so the rest is not read.
fn listed() -> Vec<Socket> {
    let listens = |socket: &Socket| socket.state == SocketState::Listening;
    let of_table =
        |table| lines(table).skip(1).map_while(move |line| socket(&line).filter(listens));
    tables("self").into_iter().flat_map(of_table).collect()
}

/// Whether a port has a listener in the network namespace of a process; none if the system does
/// not show it.
pub(crate) fn listens_in(pid: u32, port: u16) -> Option<bool> {
    let tables = tables(pid);
    File::open(&tables[0]).ok()?;
    let listens =
        |socket: Socket| socket.state == SocketState::Listening && socket.local.port() == port;
    Some(parse(tables.into_iter().flat_map(lines)).any(listens))
}

/// The listening Unix sockets of this network namespace, by inode.
pub(crate) fn listening_unix() -> SortedMap<u64, String> {
    let listener = |line: String| {
        let mut words = line.split_ascii_whitespace().skip(3);
        let accepts = words.next()? == "00010000";
        let inode = words.nth(2)?.parse().ok()?;
        let path = words.next()?;
        accepts.then(|| (inode, format!("Unix socket `{path}`")))
    };
    lines("/proc/net/unix".to_owned()).filter_map(listener).collect()
}

/// How many callers wait unaccepted on each listening port of this network namespace.
pub(crate) fn waiting_callers() -> SortedMap<u16, u32> {
    let mut waiting: SortedMap<u16, u32> = SortedMap::new();
    for listener in listening() {
        let of_port = waiting.entry(listener.local.port()).or_default();
        *of_port = of_port.saturating_add(listener.received);
    }
    waiting
}

fn lines(table: String) -> impl Iterator<Item = String> {
    let file = File::open(table).into_iter();
    file.flat_map(|file| BufReader::new(file).lines().map_while(Result::ok))
}

/// The sockets in the lines of a table; malformed lines are skipped.
fn parse(lines: impl Iterator<Item = String>) -> impl Iterator<Item = Socket> {
    lines.filter_map(|line| socket(&line))
}

/// The unit of the timers in a table, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// The socket in one line of a table; none if the line is malformed.
fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (words.next()?, words.next()?);
    let state = match words.next()? {
        "01" | "08" => SocketState::Open,
        "02" => SocketState::Calling,
        "03" | "0C" => SocketState::Called,
        "0A" => SocketState::Listening,
        "04" | "05" | "06" | "07" | "09" | "0B" => SocketState::Closing,
        _ => return None,
    };
    let (local, remote) = (address(local)?, address(remote)?);
    let (_, received) = words.next()?.split_once(':')?;
    let received = u32::from_str_radix(received, 16).ok()?;
    let (_, timer) = words.next()?.split_once(':')?;
    let timer = TICK * u32::from_str_radix(timer, 16).ok()?;
    let user = words.nth(1)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(Socket { local, remote, state, user, received, timer, inode })
}

/// `0100007F:1388`: the address in words of the machine's byte order, and the port.
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

    #[test]
    fn wildcard_listener_accepts_other_addresses() {
        let listener = |text: &str| Socket {
            local: text.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            state: SocketState::Listening,
            user: 0,
            received: 0,
            timer: Duration::ZERO,
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

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1388 0100007F:D431 01 00000000:00000010 00:00000000 00000000  1000        0 31338 1 0000000000000000 20 4 30 10 -1
   2: broken
   3: 0100007F:1388 0100007F:D432 06 00000000:00000000 03:000016F5 00000000     0        0 0 3 0000000000000000
";
    const TABLE_6: &str = "\
   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0 100 0 0 10 0
   1: 00000000000000000000000000000000:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 43 1 0 100 0 0 10 0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn parse_reads_states_and_timers_and_skips_malformed_lines() {
        let parse =
            |table: &str| parse(table.lines().map(str::to_owned).collect::<Vec<_>>().into_iter());
        let four: Vec<_> = parse(TABLE).collect();
        let own: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let listener = Socket {
            local: own,
            remote: "0.0.0.0:0".parse().unwrap(),
            state: SocketState::Listening,
            user: 1000,
            received: 3,
            timer: Duration::ZERO,
            inode: 31337,
        };
        let accepted = Socket {
            local: own,
            remote: "127.0.0.1:54321".parse().unwrap(),
            state: SocketState::Open,
            user: 1000,
            received: 16,
            timer: Duration::ZERO,
            inode: 31338,
        };
        let closing = Socket {
            remote: "127.0.0.1:54322".parse().unwrap(),
            state: SocketState::Closing,
            user: 0,
            received: 0,
            timer: Duration::from_millis(58_770),
            inode: 0,
            ..listener
        };
        assert_eq!(four, [listener, accepted, closing]);
        let six: Vec<_> = parse(TABLE_6).map(|l| (l.local.to_string(), l.inode)).collect();
        assert_eq!(six, [("[::1]:3000".to_owned(), 42), ("[::]:3001".to_owned(), 43)]);
    }

    /// Listeners of both families, and a connection to each.
    #[cfg(target_os = "linux")]
    fn listeners() -> Vec<(std::net::TcpListener, std::net::TcpStream)> {
        ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"]
            .iter()
            .filter_map(|address| {
                // The machine may have no IPv6.
                let listener = std::net::TcpListener::bind(address).ok()?;
                let caller = std::net::TcpStream::connect(listener.local_addr().ok()?).unwrap();
                Some((listener, caller))
            })
            .collect()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn kernel_lists_listeners_first() {
        let own = listeners();
        let found: Vec<_> = listed().into_iter().map(|socket| socket.local).collect();
        for (listener, _) in &own {
            let address = listener.local_addr().unwrap();
            assert!(found.contains(&address), "{address} in {found:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn diagnosis_describes_listeners_as_the_tables_do() {
        let own = listeners();
        assert!(own.len() >= 2, "{own:?}");
        for (listener, _) in &own {
            let address = listener.local_addr().unwrap();
            let mut tables = listed();
            tables.retain(|socket| socket.local.port() == address.port());
            let Some(found) = diagnosed(Some(address.port())) else {
                return xtask_client::harness::skipped("socket diagnosis of the kernel");
            };
            assert_eq!(found, tables);
            assert_eq!((found.len(), found[0].local, found[0].received), (1, address, 1));
            assert!(diagnosed(None).unwrap().contains(&found[0]));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn acceptor_is_the_listener_that_takes_the_call() {
        if diagnosed(None).is_none() {
            return xtask_client::harness::skipped("socket diagnosis of the kernel");
        }
        let at = |address: SocketAddr| acceptor(address).map(|socket| socket.local);
        for (listener, caller) in listeners() {
            let address = listener.local_addr().unwrap();
            // The end that was called: a wildcard accepts calls to any address.
            let called = caller.peer_addr().unwrap();
            assert_eq!(at(called), Some(address));
            // Nothing else can get this port while the connection is open.
            let calling = caller.local_addr().unwrap();
            assert_eq!(at(calling), None, "a connection is no listener");
        }
        let wildcard = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = wildcard.local_addr().unwrap().port();
        let exact = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(at(exact), wildcard.local_addr().ok());
    }
}
