//! Hosts as text and as addresses: loopback, wildcard, and the brackets of IPv6.
//!
//! It resolves no names: that needs the operating system.

use alloc::format;
use alloc::string::{String, ToString};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The host at which a listener bound to `host` is called from this machine: the loopback
/// address for a wildcard, else `host` itself.
#[must_use]
pub fn callable(host: &str) -> String {
    host.parse().map_or_else(|_| host.to_string(), |ip| loopback_for(ip).to_string())
}

/// The same for an address that was really bound.
#[must_use]
pub fn callable_address(bound: SocketAddr) -> SocketAddr {
    SocketAddr::new(loopback_for(bound.ip()), bound.port())
}

fn loopback_for(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Whether only this machine can reach the host.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a socket on this host listens on every address of the machine.
#[must_use]
pub fn is_wildcard(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// Whether two hosts cannot be bound with one port number.
#[must_use]
pub fn overlap(left: &str, right: &str) -> bool {
    left == right || is_wildcard(left) || is_wildcard(right)
}

/// The host as it is written before a port: an IPv6 address in brackets.
#[must_use]
pub fn bracketed(host: &str) -> String {
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    if bare_v6 { format!("[{host}]") } else { host.to_string() }
}

/// `host:port`, or `[host]:port` for an IPv6 address.
#[must_use]
pub fn authority(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_is_called_on_the_loopback() {
        assert_eq!(callable("0.0.0.0"), "127.0.0.1");
        assert_eq!(callable("::"), "::1");
        assert_eq!(callable("10.0.0.1"), "10.0.0.1");
        assert_eq!(callable("db.example"), "db.example");
        assert_eq!(callable_address("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert!(is_wildcard("::") && !is_wildcard("::1") && is_loopback("::1"));
    }

    #[test]
    fn ipv6_host_gets_brackets_once() {
        assert_eq!(authority("::1", 80), "[::1]:80");
        assert_eq!(authority("[::1]", 80), "[::1]:80");
        assert_eq!(authority("localhost", 80), "localhost:80");
    }
}
