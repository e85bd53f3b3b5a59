//! Asks the kernel for listening TCP sockets through its socket diagnosis, `NETLINK_SOCK_DIAG`.
//!
//! A read of `/proc/net/tcp` walks the table of all connections even if there are none, which takes
//! milliseconds on a machine with much memory. This request walks the listeners only. A kernel that
//! lacks it, and a sandbox that forbids it, give no answer; callers then read the tables.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Socket as Found, SocketState};

/// `SOCK_DIAG_BY_FAMILY`: the type of the request and of each message that describes a socket.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`: describe the socket that accepts connections to one address.
const ONE: u16 = 1;
/// `NLMSG_DONE`: the last message of an answer.
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`: describe all sockets.
const DUMP: u16 = 0x301;
const LISTEN: u8 = 10;
const TCP: u8 = 6;

/// Length of `nlmsghdr`.
const HEADER: usize = 16;
/// Length of `inet_diag_req_v2`.
const REQUEST: usize = 56;

/// The most bytes that the kernel puts into one part of an answer.
const PART: usize = 32 * 1024;

/// The sockets that listen on a port, or on any port; none if the kernel gives no answer.
pub(super) fn listening(port: Option<u16>) -> Option<Vec<Found>> {
    let kernel = kernel()?;
    let mut found = Vec::new();
    let mut part = vec![0; PART];
    for family in [Domain::IPV4, Domain::IPV6] {
        ask(&kernel, &request(family, DUMP, port.unwrap_or(0)))?;
        while !receive(&kernel, &mut part, &mut found)? {}
    }
    Some(found)
}

/// The socket that accepts connections to an address, one of them if several share it; none also
/// if the kernel gives no answer.
pub(super) fn acceptor(address: SocketAddr) -> Option<Found> {
    let kernel = kernel()?;
    let mut request = request(Domain::for_address(address), ONE, address.port());
    let own = &mut request[HEADER + 12..];
    match address.ip() {
        IpAddr::V4(ip) => own[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => own[..16].copy_from_slice(&ip.octets()),
    }
    // `INET_DIAG_NOCOOKIE`: any socket at the address.
    request[HEADER + REQUEST - 8..].fill(0xff);
    ask(&kernel, &request)?;
    let mut found = Vec::new();
    receive(&kernel, &mut [0; 1024], &mut found)?;
    found.pop()
}

fn kernel() -> Option<Socket> {
    let protocol = Protocol::from(libc::NETLINK_SOCK_DIAG);
    let kernel = Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, Some(protocol)).ok()?;
    // The kernel has its answer ready when the request returns.
    kernel.set_nonblocking(true).ok()?;
    Some(kernel)
}

fn ask(mut kernel: &Socket, request: &[u8]) -> Option<()> {
    let sent = kernel.write(request).ok()?;
    (sent == request.len()).then_some(())
}

/// Receives a part of an answer. Returns whether it was the last one.
fn receive(mut kernel: &Socket, part: &mut [u8], found: &mut Vec<Found>) -> Option<bool> {
    let length = kernel.read(part).ok()?;
    let mut rest = part.get(..length)?;
    while !rest.is_empty() {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let message = rest.get(HEADER..length)?;
        match u16_at(rest, 4)? {
            // It holds an error number if the kernel could not finish.
            DONE => return (u32_at(message, 0)? == 0).then_some(true),
            BY_FAMILY => found.push(socket(message)?),
            _ => return None,
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}

/// A request for listeners of a family, on this port if it is not 0.
fn request(family: Domain, flags: u16, port: u16) -> [u8; HEADER + REQUEST] {
    let mut request = [0; HEADER + REQUEST];
    let length = u32::try_from(request.len()).unwrap_or_default();
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    let body = &mut request[HEADER..];
    body[0] = u8::try_from(i32::from(family)).unwrap_or_default();
    body[1] = TCP;
    body[4..8].copy_from_slice(&(1_u32 << LISTEN).to_ne_bytes());
    body[8..10].copy_from_slice(&port.to_be_bytes());
    request
}

/// The socket that an `inet_diag_msg` describes.
fn socket(message: &[u8]) -> Option<Found> {
    let is_four = i32::from(*message.first()?) == libc::AF_INET;
    Some(Found {
        local: SocketAddr::new(ip_at(message, 8, is_four)?, port_at(message, 4)?),
        remote: SocketAddr::new(ip_at(message, 24, is_four)?, port_at(message, 6)?),
        state: (message[1] == LISTEN).then_some(SocketState::Listening)?,
        user: u32_at(message, 64)?,
        received: u32_at(message, 56)?,
        timer: Duration::ZERO,
        inode: u32_at(message, 68)?.into(),
    })
}

fn ip_at(message: &[u8], at: usize, is_four: bool) -> Option<IpAddr> {
    Some(if is_four {
        Ipv4Addr::from(*message.get(at..)?.first_chunk::<4>()?).into()
    } else {
        Ipv6Addr::from(*message.get(at..)?.first_chunk::<16>()?).into()
    })
}

fn port_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?))
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*message.get(at..)?.first_chunk()?))
}

fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?))
}
