//! The notify socket of one run (`sd_notify`).
//!
//! Each run has its own socket in a folder that only this user can enter, so the sender of a
//! message needs no check. The kernel closes descriptors that are sent along. `RELOADING=1` and
//! `MAINPID=` are ignored.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use xtask_logs::escapes::{Keep, strip};

use crate::effects::RunEvents;
use crate::effects::logs::DRAIN_READS;
use crate::system::async_fd::async_fd;

/// The longest message, in bytes; longer ones are cut off.
const LONGEST: usize = 16 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Ready,
    Status(String),
    /// It needs this much time from now.
    Extend(Duration),
    Watchdog,
    Stopping,
}

/// The status of a run that reports `STOPPING=1` without a status text.
const STOPPING: &str = "reports that it is stopping";

/// The notify socket of one run; the drop removes its file.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    path: PathBuf,
    socket: AsyncFd<UnixDatagram>,
    events: RunEvents,
    /// The probes that pass on `READY=1`; empty after that.
    ready: Mutex<Vec<usize>>,
}

impl NotifySocket {
    /// Binds `path`, which must be short enough for a socket's address.
    pub(crate) fn bind(path: PathBuf, events: RunEvents, ready: Vec<usize>) -> io::Result<Self> {
        let socket = match UnixDatagram::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                // A killed supervisor has left a file of that name.
                std::fs::remove_file(&path)?;
                UnixDatagram::bind(&path)?
            }
            bound => bound?,
        };
        socket.set_nonblocking(true)?;
        Ok(Self { path, socket: async_fd(socket)?, events, ready: Mutex::new(ready) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Forwards messages as events until it is dropped.
    pub(crate) async fn listen(&self) {
        loop {
            let Ok(mut ready) = self.socket.readable().await else { return };
            let _ = ready.try_io(|socket| self.receive(socket.get_ref()));
        }
    }

    /// Forwards the messages that are there now, within a limit: other processes may keep sending.
    pub(crate) fn drain(&self) {
        for _ in 0..DRAIN_READS {
            if self.receive(self.socket.get_ref()).is_err() {
                return;
            }
        }
    }

    /// Makes later `READY=1` messages pass no probe.
    pub(crate) fn forget_ready(&self) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn receive(&self, socket: &UnixDatagram) -> io::Result<()> {
        let mut buffer = [0; LONGEST];
        let length = socket.recv(&mut buffer)?;
        let messages = parse(&buffer[..length]);
        // A status text of the run takes precedence.
        let silent = !messages.iter().any(|message| matches!(message, Message::Status(_)));
        if silent && messages.contains(&Message::Stopping) {
            self.events.status(STOPPING.to_owned());
        }
        for message in messages {
            self.forward(message);
        }
        Ok(())
    }

    fn forward(&self, message: Message) {
        match message {
            Message::Ready => {
                let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
                for probe in ready.drain(..) {
                    self.events.passed(probe);
                }
            }
            Message::Status(status) => self.events.status(status),
            Message::Extend(by) => self.events.extend(by),
            Message::Watchdog => self.events.pinged(),
            // A run that is stopping does not become ready.
            Message::Stopping => self.forget_ready(),
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The messages of one datagram, with one `NAME=VALUE` a line. Malformed and unknown lines are
/// skipped.
pub(crate) fn parse(datagram: &[u8]) -> Vec<Message> {
    datagram.split(|&byte| byte == b'\n').filter_map(assignment).collect()
}

fn assignment(line: &[u8]) -> Option<Message> {
    let at = memchr::memchr(b'=', line)?;
    let (name, value) = (&line[..at], &line[at + 1..]);
    match name {
        b"READY" if value == b"1" => Some(Message::Ready),
        b"STOPPING" if value == b"1" => Some(Message::Stopping),
        b"WATCHDOG" if value == b"1" => Some(Message::Watchdog),
        b"STATUS" => {
            Some(Message::Status(String::from_utf8_lossy(&strip(value, Keep::Nothing)).into()))
        }
        b"EXTEND_TIMEOUT_USEC" => {
            let microseconds = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
            Some(Message::Extend(Duration::from_micros(microseconds)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagram_may_contain_several_messages() {
        let messages = parse(b"READY=1\nSTATUS=half \x1b[1mdone\x1b[0m\nMAINPID=7\nWATCHDOG=1\n");
        let status = Message::Status("half done".into());
        assert_eq!(messages, [Message::Ready, status, Message::Watchdog]);
        let extend = Message::Extend(Duration::from_secs(2));
        assert_eq!(parse(b"EXTEND_TIMEOUT_USEC=2000000"), [extend]);
    }

    #[test]
    fn malformed_messages_are_skipped() {
        let malformed =
            b"\n=\nREADY\nREADY=0\nREADY=11\nWATCHDOG=trigger\nEXTEND_TIMEOUT_USEC=-1\n\xff";
        assert_eq!(parse(malformed), []);
        for extreme in ["18446744073709551616", "1e9", "", "99999999999999999999999999999999"] {
            assert_eq!(parse(format!("EXTEND_TIMEOUT_USEC={extreme}").as_bytes()), []);
        }
        let longest = parse(&[b"STATUS=".as_slice(), &[0xff; LONGEST]].concat());
        assert_eq!(longest.len(), 1);
    }
}
