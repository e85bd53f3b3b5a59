//! Reports readiness, shutdown and liveness to the process that `NOTIFY_SOCKET` names.
//!
//! `sd-notify` formats the messages and reads the watchdog variables. The socket is our own:
//! `sd_notify::notify` connects to no abstract `@name`, and it blocks while the receiver does not
//! read. Without the variable, or without a receiver, the service serves all the same.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use sd_notify::NotifyState;

/// The connection to the supervisor, if there is one.
#[derive(Debug)]
pub(crate) struct Readiness {
    socket: Option<UnixDatagram>,
}

impl Readiness {
    /// Connects to the socket that `NOTIFY_SOCKET` names, a path or an abstract `@name`.
    pub(crate) fn from_process() -> Self {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Self::connect(&name),
            _ => Self { socket: None },
        }
    }

    /// Connects to the named socket. An unreachable socket is logged and ignored.
    fn connect(name: &OsStr) -> Self {
        let opened = open(name).inspect_err(|error| {
            tracing::warn!(socket = %name.display(), %error, "failed to connect to `NOTIFY_SOCKET`");
        });
        Self { socket: opened.ok() }
    }

    /// Reports that the service answers requests from now on.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports that the service is shutting down.
    pub(crate) fn stopping(&self) {
        self.send(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    }

    /// Feeds the watchdog twice per interval that the supervisor asked for, until the returned
    /// future is dropped.
    pub(crate) async fn feed_watchdog(&self) {
        let Some(interval) = sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) else {
            return std::future::pending().await;
        };
        loop {
            self.send(&[NotifyState::Watchdog]);
            tokio::time::sleep(interval / 2).await;
        }
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let message = states.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!(%error, message, "failed to notify the supervisor");
        }
    }
}

fn open(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes() {
        [b'@', rest @ ..] => connect_abstract(&socket, rest)?,
        _ => socket.connect(name)?,
    }
    // A supervisor that does not read must not block the service.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.connect_addr(&address)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "abstract sockets exist on Linux only"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn ready_reaches_a_socket_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        Readiness::connect(path.as_os_str()).ready("serving on 127.0.0.1:1");
        assert_eq!(received(&supervisor), "READY=1\nSTATUS=serving on 127.0.0.1:1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn stopping_reaches_an_abstract_socket() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("kit-readiness-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let supervisor = UnixDatagram::bind_addr(&address).unwrap();
        Readiness::connect(OsStr::new(&format!("@{name}"))).stopping();
        assert_eq!(received(&supervisor), "STOPPING=1\nSTATUS=draining");
    }

    #[test]
    fn missing_supervisor_is_no_error() {
        Readiness::connect(OsStr::new("/nonexistent/notify")).ready("serving");
    }
}
