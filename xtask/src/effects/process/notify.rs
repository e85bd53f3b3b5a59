//! The socket on which one run reports about itself (`sd_notify`).
//!
//! Every run has a socket of its own in a folder that only this user can enter, so
//! what arrives there needs no further proof of who sent it. Descriptors that come
//! with a message are closed by the system; states that nobody acts on
//! (`RELOADING=1`, `MAINPID=`) are ignored.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use xtask_client::escapes::{Keep, strip};

use crate::effects::RunEvents;
use crate::effects::logs::DRAIN_READS;
use crate::system::async_fd::async_fd;

/// The longest message that is read whole, in bytes.
const LONGEST: usize = 16 * 1024;

/// What a run says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// It is ready.
    Ready,
    /// What it is doing, in its words.
    Status(String),
    /// It needs this much more time, from now.
    Extend(Duration),
    /// It is alive.
    Watchdog,
    /// It is on its way to its end.
    Stopping,
}

/// What is shown of a run that says that it stops, and nothing else.
const STOPPING: &str = "it says that it stops";

/// The socket of one run; removed with it.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    path: PathBuf,
    socket: AsyncFd<UnixDatagram>,
    events: RunEvents,
    /// The probes that `READY=1` makes pass, until it did.
    ready: Mutex<Vec<usize>>,
}

impl NotifySocket {
    /// Binds `path`, which must be short enough for a socket's address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub(crate) fn bind(path: PathBuf, events: RunEvents, ready: Vec<usize>) -> io::Result<Self> {
        // A supervisor that was killed may have left one of that name.
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { path, socket: async_fd(socket)?, events, ready: Mutex::new(ready) })
    }

    /// What goes into `NOTIFY_SOCKET`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Passes messages on, for as long as it is polled.
    pub(crate) async fn listen(&self) {
        loop {
            let Ok(mut ready) = self.socket.readable().await else { return };
            let _ = ready.try_io(|socket| self.receive(socket.get_ref()));
        }
    }

    /// Passes on what is there now, within bounds: others may go on sending.
    pub(crate) fn drain(&self) {
        for _ in 0..DRAIN_READS {
            if self.receive(self.socket.get_ref()).is_err() {
                return;
            }
        }
    }

    /// From now on `READY=1` makes nothing pass.
    pub(crate) fn forget_ready(&self) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn receive(&self, socket: &UnixDatagram) -> io::Result<()> {
        let mut buffer = [0; LONGEST];
        let length = socket.recv(&mut buffer)?;
        let messages = parse(&buffer[..length]);
        // Its own words say more.
        let silent = !messages.iter().any(|message| matches!(message, Message::Status(_)));
        if silent && messages.contains(&Message::Stopping) {
            self.events.status(STOPPING.to_owned());
        }
        for message in messages {
            self.pass_on(message);
        }
        Ok(())
    }

    fn pass_on(&self, message: Message) {
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
            // Whatever it says later, it does not get ready any more.
            Message::Stopping => self.forget_ready(),
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The messages of one datagram, which has one `NAME=VALUE` a line. What cannot be
/// read is skipped.
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
    fn one_datagram_may_say_several_things() {
        let messages = parse(b"READY=1\nSTATUS=half \x1b[1mdone\x1b[0m\nMAINPID=7\nWATCHDOG=1\n");
        let status = Message::Status("half done".into());
        assert_eq!(messages, [Message::Ready, status, Message::Watchdog]);
        let extend = Message::Extend(Duration::from_secs(2));
        assert_eq!(parse(b"EXTEND_TIMEOUT_USEC=2000000"), [extend]);
    }

    #[test]
    fn nonsense_is_skipped() {
        let nonsense =
            b"\n=\nREADY\nREADY=0\nREADY=11\nWATCHDOG=trigger\nEXTEND_TIMEOUT_USEC=-1\n\xff";
        assert_eq!(parse(nonsense), []);
    }
}
