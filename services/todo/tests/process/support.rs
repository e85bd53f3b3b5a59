//! Runs the `todo` program on a socket that the test holds, and asks it by hand.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No wait in these tests is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A stack in small: a socket that outlives its runs, and a folder.
pub(crate) struct Stack {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
    runs: u32,
}

/// One process life of the service.
pub(crate) struct Run {
    child: Child,
    notify: UnixDatagram,
}

impl Stack {
    pub(crate) fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        // The standard library's backlog is too short for a queue of callers.
        // SAFETY: the descriptor is a listening socket that we own.
        assert_eq!(unsafe { libc::listen(socket.as_raw_fd(), 1024) }, 0);
        let address = socket.local_addr().unwrap();
        Self { socket, address, folder: tempfile::tempdir().unwrap(), runs: 0 }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("data/todo.db")
    }

    /// Starts a run; it need not be ready yet.
    pub(crate) fn start(&mut self) -> Run {
        self.runs += 1;
        let path = self.folder.path().join(format!("notify-{}", self.runs));
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = self.socket.as_raw_fd();
        // The shell knows its own process id, which the program keeps.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\"", env!("CARGO_BIN_EXE_todo")]);
        command.env("LISTEN_FDS", "1").env("NOTIFY_SOCKET", &path).env("RUST_LOG", "warn");
        self.configure(&mut command);
        // SAFETY: `dup2` and `fcntl` may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // `dup2` onto itself would leave the flag that closes it at exec.
                let done = libc::dup2(socket, 3) == 3 && libc::fcntl(3, libc::F_SETFD, 0) == 0;
                if done { Ok(()) } else { Err(io::Error::last_os_error()) }
            });
        }
        Run { child: command.spawn().unwrap(), notify }
    }

    /// A command that runs the program with this stack's settings.
    pub(crate) fn configure(&self, command: &mut Command) {
        command
            .env("DATABASE_URL", format!("sqlite:{}", self.database().display()))
            .env("HOST", "127.0.0.1")
            .env("PORT", self.address.port().to_string())
            .stdin(Stdio::null());
    }
}

impl Run {
    /// Waits until the service has said that it is ready.
    pub(crate) fn wait_ready(&self) {
        assert!(self.wait_message("READY=1").contains("STATUS=serving"));
    }

    /// Waits for a message that begins like this, and gives it whole.
    pub(crate) fn wait_message(&self, begin: &str) -> String {
        let mut buffer = [0; 512];
        loop {
            let length = self.notify.recv(&mut buffer).unwrap();
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.starts_with(begin) {
                return message;
            }
        }
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the child was not waited for, so the number is still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the service does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Only a failed test leaves a run alive.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A connection of a client that counts every failure.
pub(crate) struct Connection {
    stream: TcpStream,
}

/// The status of an answer, its body, and whether the connection may be used again.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) keep: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection ended before the first byte.
    Closed,
    /// Anything else, which no client may repeat.
    Lost(io::Error),
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// One request with these header lines, each ended by CRLF.
    pub(crate) fn ask(&mut self, line: &str, headers: &str, body: &str) -> Result<Answer, Failure> {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        // A write into a connection that was closed may fail, or succeed and be answered by its
        // end.
        self.stream.write_all(request.as_bytes()).map_err(|_| Failure::Closed)?;
        self.answer()
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).unwrap();
    }

    /// Reads one answer.
    pub(crate) fn answer(&mut self) -> Result<Answer, Failure> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) if bytes.is_empty() => return Err(Failure::Closed),
                Ok(0) => return Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                Err(error)
                    if bytes.is_empty() && error.kind() == io::ErrorKind::ConnectionReset =>
                {
                    return Err(Failure::Closed);
                }
                Err(error) => return Err(Failure::Lost(error)),
            }
            if let Some(answer) = parse(&bytes) {
                return Ok(answer);
            }
        }
    }

    /// Waits for the end of the connection, which must come in order and without a byte.
    pub(crate) fn expect_end(&mut self) {
        let mut buffer = [0; 64];
        assert_eq!(self.stream.read(&mut buffer).unwrap(), 0);
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    (body.len() >= length).then(|| Answer {
        status: head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0),
        body: body.to_owned(),
        keep: field("connection").as_deref() != Some("close"),
    })
}
