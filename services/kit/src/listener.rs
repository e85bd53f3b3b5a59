//! The sockets that a service answers on: inherited ones, or else one bound to `HOST:PORT`.
//!
//! The protocol is that of socket activation: `LISTEN_FDS` sockets from descriptor 3 on, meant
//! for the process that `LISTEN_PID` names. Sockets that are meant for another process are left
//! alone. Nothing is accepted here.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::os::fd::{FromRawFd, RawFd};

use tokio::net::{TcpListener, TcpSocket};

use crate::settings::{SettingError, Settings};

/// The first descriptor that the protocol passes.
const FIRST_DESCRIPTOR: RawFd = 3;

/// Callers that may wait while a service that bound its own socket is busy.
const BACKLOG: u32 = 1024;

/// What decides whether a queue outlives the process: who made the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A supervisor holds the sockets too; callers that wait in them are served by the next run.
    Inherited,
    /// The sockets end with this process, and so do the callers that still wait in them.
    Bound,
}

/// The address to bind when nothing is inherited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, `HOST`; the default is `127.0.0.1`.
    pub host: String,
    /// `PORT`; 0 lets the system choose.
    pub port: u16,
}

/// The sockets of one service.
#[derive(Debug)]
pub struct Listeners {
    /// At least one listening socket.
    pub sockets: Vec<TcpListener>,
    /// Who made them.
    pub origin: Origin,
}

/// Why there is no socket to answer on.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// `LISTEN_FDS` or `LISTEN_PID` cannot be read.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A passed descriptor is not a TCP socket.
    #[error("using the inherited descriptor {descriptor}, expected a listening TCP socket")]
    Inherit {
        /// The descriptor's number.
        descriptor: RawFd,
        /// What the system said.
        source: io::Error,
    },
    /// The address is taken, unknown, or not ours to bind.
    #[error("binding `{address}` from `HOST` and `PORT`")]
    Bind {
        /// The address as configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Address {
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

    /// The form that a message shows, IPv6 addresses in brackets.
    pub fn display(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        Ok((host, self.port).to_socket_addrs()?.collect())
    }
}

impl Listeners {
    /// The inherited sockets when there are some for this process, else one bound to `address`.
    ///
    /// Call it once: the descriptors are owned by what is returned.
    ///
    /// # Errors
    /// When a passed descriptor is no socket, or the address cannot be bound.
    pub fn obtain(settings: &Settings, address: &Address) -> Result<Self, ListenerError> {
        let count = inherited_count(settings, std::process::id())?;
        if count == 0 {
            return Self::bind(address);
        }
        let descriptors = (0..count).map(|index| FIRST_DESCRIPTOR + index);
        let sockets = descriptors.map(inherit).collect::<Result<_, _>>()?;
        Ok(Self { sockets, origin: Origin::Inherited })
    }

    /// One socket of our own.
    ///
    /// # Errors
    /// When the address cannot be resolved or bound.
    pub fn bind(address: &Address) -> Result<Self, ListenerError> {
        let failed = |source| ListenerError::Bind { address: address.display(), source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for candidate in address.resolve().map_err(failed)? {
            match bind_one(candidate) {
                Ok(socket) => return Ok(Self { sockets: vec![socket], origin: Origin::Bound }),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// The addresses as `127.0.0.1:5001, [::1]:5001`, for logs and status lines.
    pub fn describe(&self) -> String {
        let addresses = self.sockets.iter().filter_map(|socket| socket.local_addr().ok());
        addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// How many descriptors are passed to the process `own_pid`; 0 when they are for another one.
fn inherited_count(settings: &Settings, own_pid: u32) -> Result<i32, SettingError> {
    let count = settings.parsed("LISTEN_FDS", 0_u16, "a number of descriptors")?;
    let pid = settings.parsed("LISTEN_PID", 0_u32, "a process id")?;
    Ok(if pid == own_pid { i32::from(count) } else { 0 })
}

fn inherit(descriptor: RawFd) -> Result<TcpListener, ListenerError> {
    let failed = |source| ListenerError::Inherit { descriptor, source };
    // SAFETY: the protocol hands these descriptors to this process alone, and `obtain`, their
    // only user, is called once; a number that is not open is found out by the next line, and
    // then forgotten rather than closed.
    let socket = unsafe { StdListener::from_raw_fd(descriptor) };
    if let Err(source) = socket.local_addr() {
        std::mem::forget(socket);
        return Err(failed(source));
    }
    socket.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(socket).map_err(failed)
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
    fn sockets_for_another_process_are_left_alone() {
        let settings = Settings::from_pairs([("LISTEN_FDS", "1"), ("LISTEN_PID", "7")]);
        assert_eq!(inherited_count(&settings, 8).unwrap(), 0);
        assert_eq!(inherited_count(&settings, 7).unwrap(), 1);
    }

    #[test]
    fn descriptors_without_a_process_id_are_not_taken() {
        let settings = Settings::from_pairs([("LISTEN_FDS", "1")]);
        assert_eq!(inherited_count(&settings, 8).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_the_address() {
        let first = Listeners::bind(&Address { host: "127.0.0.1".into(), port: 0 }).unwrap();
        let port = first.sockets[0].local_addr().unwrap().port();
        let error = Listeners::bind(&Address { host: "127.0.0.1".into(), port }).unwrap_err();
        assert!(error.to_string().contains(&format!("`127.0.0.1:{port}`")), "{error}");
    }

    #[tokio::test]
    async fn a_descriptor_that_is_not_open_is_an_error() {
        let error = inherit(993).unwrap_err();
        assert!(error.to_string().contains("descriptor 993"), "{error}");
    }

    #[test]
    fn the_default_host_is_the_loopback_address() {
        let address = Address::from_settings(&Settings::from_pairs([]), 5001).unwrap();
        assert_eq!(address.display(), "127.0.0.1:5001");
    }
}
