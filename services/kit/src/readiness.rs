//! Tells whoever started this process how far it is: one datagram to `NOTIFY_SOCKET` a message.
//!
//! Without that variable nothing is sent, and a supervisor that does not listen is no error: the
//! service serves either way.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The one who listens, if any.
#[derive(Debug)]
pub struct Readiness {
    socket: Option<UnixDatagram>,
}

impl Readiness {
    /// Connects to the socket that `NOTIFY_SOCKET` names, a path or an abstract `@name`.
    pub fn from_process() -> Self {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Self::connect(&name),
            _ => Self { socket: None },
        }
    }

    /// Connects to the named socket; a socket that cannot be reached is logged and then ignored.
    pub fn connect(name: &OsStr) -> Self {
        match open(name) {
            Ok(socket) => Self { socket: Some(socket) },
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "cannot reach `NOTIFY_SOCKET`");
                Self { socket: None }
            }
        }
    }

    /// Says that requests are answered from now on.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// Says that the process is on its way out.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=draining");
    }

    /// Says in words what is being done; one line.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// Says that the process is alive, at least twice in each interval that the supervisor asked
    /// for, until the returned future is dropped.
    pub async fn keep_watchdog_fed(&self) {
        let Some(interval) = watchdog_interval() else {
            return std::future::pending().await;
        };
        loop {
            self.send("WATCHDOG=1");
            tokio::time::sleep(interval / 2).await;
        }
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!(%error, message, "readiness message was not taken");
        }
    }
}

/// The interval in which the supervisor wants a sign of life, if it wants one from this process.
fn watchdog_interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && for_us)?;
    Some(Duration::from_micros(micros))
}

fn open(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes() {
        [b'@', rest @ ..] => connect_abstract(&socket, rest)?,
        _ => socket.connect(name)?,
    }
    // A supervisor that does not read must not hold up the service.
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
    fn nobody_listening_is_no_error() {
        Readiness::connect(OsStr::new("/nonexistent/notify")).ready("serving");
    }
}
