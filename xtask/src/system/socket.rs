//! TCP sockets: the address of a host, and sockets bound to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::system::port_range;

/// Connections that queue before callers are refused; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// The address of a host and port: a literal as it stands, a name as the system
/// resolves it, version 4 first so that `localhost` is the same everywhere.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    match literal(host, port) {
        Some(address) => Ok(address),
        None => first(host, (host, port).to_socket_addrs()?),
    }
}

/// As [`resolve`], without keeping this thread: servers of names may take seconds.
pub(crate) async fn lookup(host: &str, port: u16) -> io::Result<SocketAddr> {
    match literal(host, port) {
        Some(address) => Ok(address),
        None => first(host, tokio::net::lookup_host((host, port)).await?),
    }
}

fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ip = match host {
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => literal.parse::<IpAddr>().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

fn first(host: &str, addresses: impl Iterator<Item = SocketAddr>) -> io::Result<SocketAddr> {
    let no_address = || io::Error::other(format!("`{host}` has no address"));
    addresses.min_by_key(SocketAddr::is_ipv6).ok_or_else(no_address)
}

/// What a bound socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Callers queue on it, and a run inherits it.
    Listen,
    /// It holds a number that must be this one, whatever lingers there.
    Reserve,
    /// It holds a number that nobody else has bound, reserved by another stack or not.
    ReserveUnused,
}

/// A port where callers are refused as long as the socket is held.
///
/// # Errors
/// When the host cannot be bound, or has no free port.
pub(crate) fn refusing_port(host: &str) -> io::Result<(OwnedFd, u16)> {
    reserve_any(resolve(host, 0)?)
}

/// A bound socket of any number, preferably one that outgoing connections do not get.
pub(crate) fn reserve_any(mut address: SocketAddr) -> io::Result<(OwnedFd, u16)> {
    for number in port_range::candidates() {
        address.set_port(number);
        if let Ok(reserved) = open(address, Purpose::ReserveUnused) {
            return Ok(reserved);
        }
    }
    address.set_port(0);
    open(address, Purpose::ReserveUnused)
}

/// A bound socket, and its number.
pub(crate) fn open(address: SocketAddr, purpose: Purpose) -> io::Result<(OwnedFd, u16)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = stream_socket(family)?;
    sockopt::set_socket_reuseaddr(&socket, purpose != Purpose::ReserveUnused)?;
    rustix::net::bind(&socket, &address)?;
    if purpose == Purpose::Listen {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, bound.port()))
}

/// A TCP socket that no program inherits unless told to.
pub(crate) fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    #[cfg(not(target_os = "linux"))]
    let socket = {
        let socket =
            rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::empty(), None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        socket
    };
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_the_loopback_of_version_four() {
        assert_eq!(resolve("localhost", 1).unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(resolve("[::1]", 1).unwrap().to_string(), "[::1]:1");
        assert_eq!(resolve("::1", 1).unwrap().to_string(), "[::1]:1");
    }
}
