//! The program that tests start where a real one would be too well-behaved.
//!
//! What it does is said by flags, which may be combined; without any it sleeps until
//! it is told to stop. In the order in which they take effect:
//!
//! - `--print-args`, `--print-env`: one line each, `arg: …` and `env: NAME=VALUE`
//! - `--require-env NAME`: ends with code 1 unless the variable is set
//! - `--stderr TEXT`: a line on standard error
//! - `--print-before-bind TEXT`: a line that sounds ready and is not
//! - `--hide`: shows no other process what it has open
//! - `--ignore-term`: deaf to SIGTERM
//! - `--drain MS`: on SIGTERM says `draining`, takes that long, ends with code 0
//! - `--boot MS`: waits before it binds
//! - `--listen-env`: binds HOST:PORT; `--inherit`: takes the socket of `LISTEN_FDS`
//!   and ends with code 3 if `LISTEN_PID` is not its own
//! - `--grandchild`: leaves a child in its group that holds the socket and is deaf to
//!   SIGTERM; `--grandchild-setsid`: the same in a session of its own;
//!   `--grandchild-daemon`: the same, forked twice. All say `grandchild PID`
//! - `--call HOST:PORT`: sends a request there, waits for an answer before it serves,
//!   and keeps the connection; ends with code 1 if it is refused
//! - `--http STATUS`: answers every request with that status; without it connections
//!   stay unaccepted
//! - `--ready-line TEXT`: a line once bound
//! - `--notify-after MS`: sends `READY=1` to `NOTIFY_SOCKET`
//! - `--flood LINES`: that many lines as fast as possible; `--flood-on`: without end,
//!   until nobody reads them. With `--line-bytes N` each of the former is
//!   filled up to N bytes, its end included
//! - `--tick MS`: a numbered line that often, for ever
//! - `--long-line BYTES`: a line of that many bytes
//! - `--junk`: a line with NUL bytes, what is no UTF-8, colours and other escapes
//! - `--torn`: one line on each stream, written by turns in pieces
//! - `--half-line`: text without a line end
//! - `--exit-after MS`, with `--code N` (0 by default); `--crash-after MS`: aborts
//!
//! It needs nothing but the standard library and libc, and it is no model for a
//! service.

use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio, exit};
use std::thread;
use std::time::Duration;

/// The flag by which the program starts itself as a grandchild.
const HOLD: &str = "--hold";
/// The flag by which it starts itself to leave a grandchild and end.
const FORK_AGAIN: &str = "--fork-again";

/// Where a grandchild is left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Group,
    Session,
    /// A session of its own, and not as a child of ours.
    Daemon,
}

/// What is wanted, as typed.
#[derive(Default)]
struct Wanted {
    args: Vec<String>,
}

impl Wanted {
    fn has(&self, flag: &str) -> bool {
        self.args.iter().any(|arg| arg == flag)
    }

    fn text(&self, flag: &str) -> Option<&str> {
        let place = self.args.iter().position(|arg| arg == flag)?;
        match self.args.get(place + 1) {
            Some(value) => Some(value),
            None => refuse(&format!("`{flag}` wants a value")),
        }
    }

    fn number(&self, flag: &str) -> Option<u64> {
        let text = self.text(flag)?;
        match text.parse() {
            Ok(number) => Some(number),
            Err(_) => refuse(&format!("`{flag}` wants a number, not `{text}`")),
        }
    }

    fn pause(&self, flag: &str) -> Option<Duration> {
        self.number(flag).map(Duration::from_millis)
    }

    fn grandchildren(&self) -> impl Iterator<Item = Place> {
        [
            ("--grandchild", Place::Group),
            ("--grandchild-setsid", Place::Session),
            ("--grandchild-daemon", Place::Daemon),
        ]
        .into_iter()
        .filter(|(flag, _)| self.has(flag))
        .map(|(_, place)| place)
    }

    /// Ends the program if a flag is unknown: a test with a typing error must fail.
    fn check(&self) {
        const PLAIN: [&str; 15] = [
            HOLD,
            FORK_AGAIN,
            "--print-args",
            "--print-env",
            "--hide",
            "--ignore-term",
            "--listen-env",
            "--inherit",
            "--grandchild",
            "--grandchild-setsid",
            "--grandchild-daemon",
            "--flood-on",
            "--half-line",
            "--junk",
            "--torn",
        ];
        const VALUED: [&str; 16] = [
            "--require-env",
            "--stderr",
            "--print-before-bind",
            "--drain",
            "--boot",
            "--call",
            "--http",
            "--ready-line",
            "--notify-after",
            "--flood",
            "--line-bytes",
            "--tick",
            "--long-line",
            "--exit-after",
            "--code",
            "--crash-after",
        ];
        let mut args = self.args.iter();
        while let Some(arg) = args.next() {
            if VALUED.contains(&arg.as_str()) {
                args.next();
            } else if !PLAIN.contains(&arg.as_str()) && !self.has("--print-args") {
                refuse(&format!("unknown flag `{arg}`"));
            }
        }
    }
}

fn main() {
    let wanted = Wanted { args: env::args().skip(1).collect() };
    wanted.check();
    if wanted.has(FORK_AGAIN) {
        hold(&mut Command::new(own_program()));
        return;
    }
    if wanted.has("--print-args") {
        wanted.args.iter().for_each(|arg| say(&format!("arg: {arg}")));
    }
    if wanted.has("--print-env") {
        let mut variables: Vec<_> = env::vars().collect();
        variables.sort();
        variables.iter().for_each(|(name, value)| say(&format!("env: {name}={value}")));
    }
    if let Some(name) = wanted.text("--require-env")
        && env::var_os(name).is_none()
    {
        eprintln!("`{name}` is not set");
        exit(1);
    }
    if let Some(text) = wanted.text("--stderr") {
        eprintln!("{text}");
    }
    if let Some(text) = wanted.text("--print-before-bind") {
        say(text);
    }
    if wanted.has("--hide") {
        // SAFETY: the call takes two numbers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
    }
    choose_signals(&wanted);
    if let Some(pause) = wanted.pause("--boot") {
        thread::sleep(pause);
    }
    let deaf = wanted.grandchildren().next().is_some().then(DeafForNow::begin);
    let listener = listener(&wanted);
    leave_grandchildren(&wanted, listener.as_ref());
    if let Some(deaf) = deaf {
        deaf.end(&wanted);
    }
    let _kept = wanted.text("--call").map(call);
    serve(&wanted, listener);
    if let Some(text) = wanted.text("--ready-line") {
        say(text);
    }
    if let Some(pause) = wanted.pause("--notify-after") {
        thread::spawn(move || {
            thread::sleep(pause);
            notify("READY=1");
        });
    }
    print_much(&wanted);
    end(&wanted);
}

/// Prints a line at once, and does not mind that nobody reads it.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
    let _ = io::stdout().flush();
}

/// Ends the program because it was started wrongly.
fn refuse(why: &str) -> ! {
    eprintln!("misbehave: {why}");
    exit(64);
}

/// From before the socket can be connected to until the grandchildren are there SIGTERM
/// is put off: who sends it once the socket answers finds them, deaf from their start.
struct DeafForNow;

impl DeafForNow {
    fn begin() -> Self {
        mask_term(libc::SIG_BLOCK);
        // A child inherits that the signal is ignored, though not that it is blocked;
        // what is blocked is kept even while it is ignored.
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        Self
    }

    fn end(self, wanted: &Wanted) {
        if !wanted.has("--ignore-term") {
            // SAFETY: the default runs no code of this program.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
        }
        if !wanted.has("--drain") {
            mask_term(libc::SIG_UNBLOCK);
        }
    }
}

/// Blocks or unblocks SIGTERM for this thread and those that it starts from now on.
fn mask_term(how: libc::c_int) -> libc::sigset_t {
    // SAFETY: the set is made by sigemptyset before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut());
        set
    }
}

fn choose_signals(wanted: &Wanted) {
    if wanted.has("--ignore-term") || wanted.has(HOLD) {
        // SAFETY: no other thread runs yet, and ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    }
    if wanted.has(HOLD) {
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
    if let Some(drain) = wanted.pause("--drain") {
        // Blocked before any other thread starts, it is left to the one that waits.
        let set = mask_term(libc::SIG_BLOCK);
        thread::spawn(move || {
            let mut signal = 0;
            // SAFETY: both pointers are to live values of this thread.
            unsafe { libc::sigwait(&raw const set, &raw mut signal) };
            say("draining");
            thread::sleep(drain);
            exit(0);
        });
    }
}

fn listener(wanted: &Wanted) -> Option<TcpListener> {
    if wanted.has("--inherit") {
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        if number("LISTEN_PID") != Some(std::process::id())
            || number("LISTEN_FDS").is_none_or(|n| n == 0)
        {
            eprintln!("no socket was passed to this process");
            exit(3);
        }
        // SAFETY: by the protocol that was just checked descriptor 3 is ours alone.
        return Some(unsafe { TcpListener::from_raw_fd(3) });
    }
    if !wanted.has("--listen-env") {
        return None;
    }
    let host = env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else { refuse("`--listen-env` wants PORT") };
    match TcpListener::bind((host.as_str(), port)) {
        Ok(listener) => Some(listener),
        Err(error) => {
            eprintln!("cannot bind {host}:{port}: {error}");
            exit(1);
        }
    }
}

fn leave_grandchildren(wanted: &Wanted, listener: Option<&TcpListener>) {
    for place in wanted.grandchildren() {
        let mut command = Command::new(own_program());
        let socket = listener.map(|listener| listener.as_raw_fd());
        // SAFETY: between fork and exec only calls are made that are safe there.
        unsafe {
            command.pre_exec(move || {
                if place != Place::Group {
                    libc::setsid();
                }
                if let Some(socket) = socket {
                    libc::fcntl(socket, libc::F_SETFD, 0);
                }
                Ok(())
            });
        }
        if place == Place::Daemon {
            // It says itself whom it leaves, and ends.
            let between = command.arg(FORK_AGAIN).stdin(Stdio::null()).status();
            if !between.is_ok_and(|status| status.success()) {
                refuse("cannot fork twice");
            }
        } else {
            hold(&mut command);
        }
    }
}

/// Starts a process that does nothing but hold what it inherits.
fn hold(command: &mut Command) {
    match command.arg(HOLD).stdin(Stdio::null()).spawn() {
        Ok(child) => say(&format!("grandchild {}", child.id())),
        Err(error) => refuse(&format!("cannot start a grandchild: {error}")),
    }
}

fn own_program() -> std::path::PathBuf {
    env::current_exe().unwrap_or_else(|_| refuse("where am I?"))
}

/// Waits for an answer from that address, and keeps the connection.
fn call(address: &str) -> TcpStream {
    let mut answer = [0; 1];
    let called = TcpStream::connect(address).and_then(|mut stream| {
        write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
        stream.read_exact(&mut answer)?;
        Ok(stream)
    });
    match called {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!("cannot call {address}: {error}");
            exit(1);
        }
    }
}

/// Answers requests in threads, or keeps the socket without ever accepting.
fn serve(wanted: &Wanted, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return };
    let Some(status) = wanted.number("--http") else {
        std::mem::forget(listener);
        return;
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, status));
        }
    });
}

fn answer(mut stream: TcpStream, status: u64) {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(length) => head.extend_from_slice(&part[..length]),
        }
    }
    let pid = std::process::id().to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Misbehaving\r\nlocation: /elsewhere\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{pid}",
        pid.len()
    );
}

fn notify(message: &str) {
    let Ok(path) = env::var("NOTIFY_SOCKET") else { refuse("`NOTIFY_SOCKET` is not set") };
    let sent = UnixDatagram::unbound().and_then(|socket| match path.strip_prefix('@') {
        Some(name) => send_abstract(&socket, name, message),
        None => socket.send_to(message.as_bytes(), &path),
    });
    if let Err(error) = sent {
        eprintln!("cannot notify {path}: {error}");
    }
}

#[cfg(target_os = "linux")]
fn send_abstract(socket: &UnixDatagram, name: &str, message: &str) -> io::Result<usize> {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(message.as_bytes(), &address)
}

#[cfg(not(target_os = "linux"))]
fn send_abstract(_: &UnixDatagram, _: &str, _: &str) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

fn print_much(wanted: &Wanted) {
    if let Some(lines) = wanted.number("--flood") {
        flood(lines, wanted.number("--line-bytes").unwrap_or(0));
    }
    if let Some(bytes) = wanted.number("--long-line") {
        let text = "long ".bytes().cycle().take(usize::try_from(bytes).unwrap_or(usize::MAX));
        let _ = io::stdout().write_all(&text.chain([b'\n']).collect::<Vec<u8>>());
    }
    if wanted.has("--flood-on") {
        let mut out = io::BufWriter::new(io::stdout().lock());
        while writeln!(out, "a flood without end").is_ok() {}
    }
    if wanted.has("--junk") {
        let junk = b"a\0b \xff\xfe \x1b[31mred\x1b[0m \x1b[2J\x1b]0;t\x07end\n";
        let _ = io::stdout().write_all(junk);
    }
    if wanted.has("--torn") {
        for piece in ["one ", "two ", "three\n"] {
            let _ = write!(io::stdout(), "out {piece}").and_then(|()| io::stdout().flush());
            let _ = write!(io::stderr(), "err {piece}");
        }
    }
    if wanted.has("--half-line") {
        let _ = write!(io::stdout(), "half a line");
        let _ = io::stdout().flush();
    }
    if let Some(pause) = wanted.pause("--tick") {
        thread::spawn(move || {
            for tick in 1_u64.. {
                say(&format!("tick {tick}"));
                thread::sleep(pause);
            }
        });
    }
}

fn flood(lines: u64, bytes: u64) {
    let width = usize::try_from(bytes).unwrap_or(0).saturating_sub(1);
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    for line in 1..=lines {
        let text = format!("flood {line} of {lines}");
        let _ = writeln!(out, "{text:.<width$}");
    }
    let _ = out.flush();
}

fn end(wanted: &Wanted) -> ! {
    if let Some(pause) = wanted.pause("--crash-after") {
        thread::sleep(pause);
        std::process::abort();
    }
    if let Some(pause) = wanted.pause("--exit-after") {
        thread::sleep(pause);
        exit(wanted.number("--code").and_then(|code| i32::try_from(code).ok()).unwrap_or(0));
    }
    loop {
        thread::park();
    }
}
