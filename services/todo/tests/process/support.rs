//! Runs the program `todo` on a socket that the test owns, with a minimal HTTP client.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The timeout of every wait.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A minimal stack: a folder, and a socket that outlives the runs.
pub(crate) struct Stack {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
    runs: u32,
    /// More settings of the program.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// One process of the service.
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
        let (folder, variables) = (tempfile::tempdir().unwrap(), Vec::new());
        Self { socket, address, folder, runs: 0, variables }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("data/todo.db")
    }

    /// Starts a run without waiting for readiness.
    pub(crate) fn start(&mut self) -> Run {
        self.start_with(Stdio::inherit())
    }

    /// Starts a run that logs to `log`.
    pub(crate) fn start_with(&mut self, log: impl Into<Stdio>) -> Run {
        self.runs += 1;
        let path = self.folder.path().join(format!("notify-{}", self.runs));
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        let socket = self.socket.as_raw_fd();
        // `exec` keeps the process id of the shell.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\"", env!("CARGO_BIN_EXE_todo")]);
        command.env("LISTEN_FDS", "1").env("NOTIFY_SOCKET", &path).env("RUST_LOG", "warn");
        command.stdout(log);
        self.configure(&mut command);
        // SAFETY: `dup2` and `fcntl` may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // `dup2` onto itself keeps the close-on-exec flag.
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
            .env("SIGNING_KEY", "the key of these tests, which is long")
            .env("OPEN_OWNERS", "true")
            .env("HOST", "127.0.0.1")
            .env("PORT", self.address.port().to_string())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
    }
}

impl Run {
    /// Waits until the service reports that it is ready.
    pub(crate) fn wait_ready(&self) {
        assert!(self.wait_message("READY=1").contains("STATUS=serving"));
    }

    /// Waits for a message that starts with `begin`, and returns it.
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
        // SAFETY: the child is not reaped, so the pid is still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Waits for the exit.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the service did not exit");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A failed test leaves a process behind.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A connection that reports every failure.
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
    /// Any other failure, after which no client may retry.
    Lost(io::Error),
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Sends a request with these header lines, each with its CRLF, and reads the answer.
    pub(crate) fn ask(&mut self, line: &str, headers: &str, body: &str) -> Result<Answer, Failure> {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        // A write to a closed connection fails, or succeeds and the read finds the end.
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

    /// Waits for the orderly end of the connection, without another byte.
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
