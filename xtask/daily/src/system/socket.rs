//! TCP sockets: resolves hosts to addresses, and binds sockets to them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

use crate::system::port_range;

/// Connections that queue before the kernel refuses callers; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// The address of a host: a literal as it is, a name as the system resolves it. IPv4 is preferred,
/// so that `localhost` is the same everywhere.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    match literal(host) {
        Some(ip) => Ok(SocketAddr::new(ip, port)),
        None => first(host, (host, port).to_socket_addrs()?),
    }
}

/// As [`resolve`], without blocking this thread: a name server may take seconds.
pub(crate) async fn lookup(host: &str, port: u16) -> io::Result<SocketAddr> {
    match literal(host) {
        Some(ip) => Ok(SocketAddr::new(ip, port)),
        None => first(host, tokio::net::lookup_host((host, port)).await?),
    }
}

/// The IP address that a host spells out, with or without brackets; `localhost` counts as one.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match host {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        _ => literal.parse().ok(),
    }
}

fn first(host: &str, addresses: impl Iterator<Item = SocketAddr>) -> io::Result<SocketAddr> {
    let no_address = || io::Error::other(format!("`{host}` has no address"));
    addresses.min_by_key(SocketAddr::is_ipv6).ok_or_else(no_address)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To queue callers for a run that inherits it.
    Listen,
    /// To hold a fixed port, also beside connections in `TIME_WAIT`.
    Reserve,
    /// To hold a port that no other socket is bound to, not even one that reserves it.
    ReserveUnused,
}

/// A port that refuses callers as long as the socket is open.
pub fn refusing_port(host: &str) -> io::Result<(OwnedFd, u16)> {
    reserve_any(resolve(host, 0)?)
}

/// A socket bound to any free port, preferably outside of the range of outgoing connections.
pub(crate) fn reserve_any(mut address: SocketAddr) -> io::Result<(OwnedFd, u16)> {
    for port in port_range::candidates() {
        address.set_port(port);
        if let Ok(reserved) = open(address, Purpose::ReserveUnused) {
            return Ok(reserved);
        }
    }
    address.set_port(0);
    open(address, Purpose::ReserveUnused)
}

/// A bound socket, and its port.
pub(crate) fn open(address: SocketAddr, purpose: Purpose) -> io::Result<(OwnedFd, u16)> {
    let socket = stream_socket(address)?;
    socket.set_reuse_address(purpose != Purpose::ReserveUnused)?;
    socket.bind(&address.into())?;
    if purpose == Purpose::Listen {
        socket.listen(BACKLOG)?;
    }
    let bound = socket.local_addr()?.as_socket();
    let port = bound.map(|bound| bound.port()).ok_or(io::ErrorKind::InvalidData)?;
    Ok((socket.into(), port))
}

/// Begins to connect. A socket that listens on this machine is connected when this returns, and a
/// port without one refuses at once.
pub(crate) fn call(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = stream_socket(address)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// A TCP socket for this kind of address, closed on exec.
pub(crate) fn stream_socket(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_resolves_to_ipv4_loopback() {
        assert_eq!(resolve("localhost", 1).unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(resolve("[::1]", 1).unwrap().to_string(), "[::1]:1");
        assert_eq!(resolve("::1", 1).unwrap().to_string(), "[::1]:1");
    }
}
