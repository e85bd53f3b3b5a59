//! The tables of TCP sockets, `/proc/net/tcp` and `/proc/net/tcp6`: every socket of this
//! machine (of this network namespace).
//!
//! Parsing is apart from reading. A system without these files yields no sockets; which
//! process a socket belongs to is found elsewhere.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// Its own end.
    pub(crate) local: SocketAddr,
    /// The other end.
    pub(crate) remote: SocketAddr,
    /// What it is doing.
    pub(crate) state: SocketState,
    /// The number of the user that it belongs to.
    pub(crate) user: u32,
    /// Bytes received and not read; for a listener, connections not accepted.
    pub(crate) received: u32,
    /// The socket's number, as the links in `/proc/PID/fd` show it; 0 for one that no
    /// process has, such as a connection that was not accepted.
    pub(crate) inode: u64,
}

/// What a socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketState {
    /// It waits for calls.
    Listening,
    /// It has called, and nobody has answered.
    Calling,
    /// It is being called, and the handshake is not over.
    Called,
    /// Both ends are open, or only the other one was closed.
    Open,
}

const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// Every socket that is not on its way out. Line by line: after a minute of many short
/// calls the tables hold megabytes of those that are, and the system takes long to write
/// them down.
pub(crate) fn all() -> Vec<Socket> {
    TABLES.into_iter().flat_map(lines).filter_map(|text| line(&text)).collect()
}

/// The sockets that listen. The system lists them first, so that this is quick however
/// many others there are.
pub(crate) fn listening() -> Vec<Socket> {
    let listens = |socket: &Socket| socket.state == SocketState::Listening;
    let of_table = |table| lines(table).skip(1).map_while(move |text| line(&text).filter(listens));
    TABLES.into_iter().flat_map(of_table).collect()
}

fn lines(table: &str) -> impl Iterator<Item = String> {
    let file = File::open(table).into_iter();
    file.flat_map(|file| BufReader::new(file).lines().map_while(Result::ok))
}

/// The sockets in the text of one table; those on their way out and lines that cannot be
/// read are skipped.
pub(crate) fn parse(table: &str) -> impl Iterator<Item = Socket> {
    table.lines().filter_map(line)
}

/// The numbers of the sockets that a process has, of any kind; none if it is gone or
/// another user's.
pub(crate) fn held_by(pid: i32) -> impl Iterator<Item = u64> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    links.filter_map(|link| number_of(&std::fs::read_link(link.path()).ok()?))
}

/// Whether the system does not let us see what a process has open.
pub(crate) fn hides(pid: i32) -> bool {
    let denied = |error: std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    match std::fs::read_dir(format!("/proc/{pid}/fd")) {
        // A folder of the same user may be looked into while its links may not be followed.
        Ok(links) => links.flatten().any(|link| std::fs::read_link(link.path()).is_err_and(denied)),
        Err(error) => denied(error),
    }
}

/// The number in `socket:[12345]`.
fn number_of(link: &std::path::Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The socket in one line of a table; none in a line that cannot be read, or for one on its
/// way out, which most are where there are many.
fn line(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (words.next()?, words.next()?);
    let state = match words.next()? {
        "01" | "08" => SocketState::Open,
        "02" => SocketState::Calling,
        "03" | "0C" => SocketState::Called,
        "0A" => SocketState::Listening,
        _ => return None,
    };
    let (local, remote) = (address(local)?, address(remote)?);
    let (_, received) = words.next()?.split_once(':')?;
    let received = u32::from_str_radix(received, 16).ok()?;
    let user = words.nth(2)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(Socket { local, remote, state, user, received, inode })
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
   3: 0100007F:1388 0100007F:D432 06 00000000:00000000 03:000016F5 00000000     0        0 0 3 0000000000000000
";
    const TABLE_6: &str = "\
   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0 100 0 0 10 0
   1: 00000000000000000000000000000000:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 43 1 0 100 0 0 10 0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_are_read_with_both_ends_and_what_is_broken_or_closing_is_skipped() {
        let four: Vec<_> = parse(TABLE).collect();
        let own: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let listener = Socket {
            local: own,
            remote: "0.0.0.0:0".parse().unwrap(),
            state: SocketState::Listening,
            user: 1000,
            received: 3,
            inode: 31337,
        };
        let accepted = Socket {
            local: own,
            remote: "127.0.0.1:54321".parse().unwrap(),
            state: SocketState::Open,
            user: 1000,
            received: 16,
            inode: 31338,
        };
        assert_eq!(four, [listener, accepted]);
        let six: Vec<_> = parse(TABLE_6).map(|l| (l.local.to_string(), l.inode)).collect();
        assert_eq!(six, [("[::1]:3000".to_owned(), 42), ("[::]:3001".to_owned(), 43)]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn listeners_come_before_everything_else() {
        let listeners = [0; 3].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let own = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let _callers = own.map(|address| std::net::TcpStream::connect(address).unwrap());
        let found: Vec<_> = listening().into_iter().map(|socket| socket.local).collect();
        assert!(own.iter().all(|address| found.contains(address)), "{own:?} in {found:?}");
    }
}
