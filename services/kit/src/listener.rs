//! The sockets that a service answers on: inherited ones, or else one bound to `HOST:PORT`.
//!
//! `listenfd` takes the inherited sockets of systemd's protocol. It also takes sockets without a
//! `LISTEN_PID`; those may be meant for another process, so they are left alone here. No
//! connection is accepted in this file.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};

use crate::settings::{SettingError, Settings};

/// Connections that may wait in a socket that the service bound itself.
const BACKLOG: u32 = 1024;

/// Which process made the sockets. It decides whether their queues outlive this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The supervisor, which keeps them open: the next run serves the connections that wait.
    Inherited,
    /// This process: connections that still wait are lost when it ends.
    Bound,
}

/// The address to bind when no socket is inherited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAddress {
    /// `HOST`, a name or an IP address; the default is `127.0.0.1`.
    pub host: String,
    /// `PORT`; with 0 the system chooses.
    pub port: u16,
}

/// The sockets of one service.
#[derive(Debug)]
pub struct Listeners {
    /// At least one listening socket.
    pub sockets: Vec<TcpListener>,
    /// Which process made them.
    pub origin: Origin,
}

#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The index counts from 1.
    #[error("failed to use inherited socket {index} of {count}, expected a listening TCP socket")]
    Inherit { index: usize, count: usize, source: io::Error },
    #[error("failed to bind `{address}` from `HOST` and `PORT`")]
    Bind { address: String, source: io::Error },
}

impl BindAddress {
    /// Reads `HOST` and `PORT`.
    ///
    /// # Errors
    /// When `PORT` is not a number from 0 to 65535.
    pub fn from_settings(settings: &Settings, default_port: u16) -> Result<Self, SettingError> {
        Ok(Self {
            host: settings.text("HOST")?.unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: settings.parsed("PORT", default_port, "a port from 0 to 65535")?,
        })
    }

    /// `HOST:PORT` for messages and for the `Host` header, IPv6 addresses in brackets.
    pub fn display(&self) -> String {
        match self.bare_host() {
            host if host.contains(':') => format!("[{host}]:{}", self.port),
            host => format!("{host}:{}", self.port),
        }
    }

    /// The socket addresses of the host.
    ///
    /// # Errors
    /// When the host has none.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<_> = (self.bare_host(), self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl Listeners {
    /// The inherited sockets if there are some for this process, else one bound to `address`.
    ///
    /// Call it once, at the start: it takes the variables of the protocol out of the environment.
    ///
    /// # Errors
    /// When an inherited descriptor is not a TCP socket, or the address cannot be bound.
    pub fn obtain(settings: &Settings, address: &BindAddress) -> Result<Self, ListenerError> {
        let mut inherited = match names_process(settings, std::process::id())? {
            true => ListenFd::from_env(),
            false => ListenFd::empty(),
        };
        let count = inherited.len();
        if count == 0 {
            return Self::bind(address);
        }
        let sockets = (0..count).filter_map(|index| {
            let taken = inherited.take_tcp_listener(index).transpose()?.and_then(|socket| {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket)
            });
            Some(taken.map_err(|source| ListenerError::Inherit { index: index + 1, count, source }))
        });
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()?, origin: Origin::Inherited })
    }

    /// Binds one socket.
    ///
    /// # Errors
    /// When the address cannot be resolved or bound.
    pub fn bind(address: &BindAddress) -> Result<Self, ListenerError> {
        let failed = |source| ListenerError::Bind { address: address.display(), source };
        let mut last = None;
        for candidate in address.resolve().map_err(failed)? {
            match bind_one(candidate) {
                Ok(socket) => return Ok(Self { sockets: vec![socket], origin: Origin::Bound }),
                Err(error) => last = Some(error),
            }
        }
        Err(failed(last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())))
    }

    /// The addresses as `127.0.0.1:5001, [::1]:5001`, for logs and status lines.
    pub fn describe(&self) -> String {
        let addresses = self.sockets.iter().filter_map(|socket| socket.local_addr().ok());
        addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Whether `LISTEN_PID` names the process `pid`.
fn names_process(settings: &Settings, pid: u32) -> Result<bool, SettingError> {
    Ok(settings.parsed("LISTEN_PID", 0_u32, "a process id")? == pid)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // A restarted service must not wait for old connections to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_for_this_process_are_inherited() {
        let settings = Settings::from_pairs([("LISTEN_FDS", "1"), ("LISTEN_PID", "7")]);
        assert!(names_process(&settings, 7).unwrap());
        assert!(!names_process(&settings, 8).unwrap());
        assert!(!names_process(&Settings::from_pairs([("LISTEN_FDS", "1")]), 8).unwrap());
    }

    #[tokio::test]
    async fn bind_error_names_the_address() {
        let first = Listeners::bind(&BindAddress { host: "127.0.0.1".into(), port: 0 }).unwrap();
        let port = first.sockets[0].local_addr().unwrap().port();
        let error = Listeners::bind(&BindAddress { host: "127.0.0.1".into(), port }).unwrap_err();
        assert!(error.to_string().contains(&format!("`127.0.0.1:{port}`")), "{error}");
    }

    #[test]
    fn default_host_is_loopback() {
        let address = BindAddress::from_settings(&Settings::from_pairs([]), 5001).unwrap();
        assert_eq!(address.display(), "127.0.0.1:5001");
    }
}
