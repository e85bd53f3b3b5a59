//! What is bound, answered, called and notified.

use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::refuse;
use crate::wanted::Wanted;

/// Whether SIGTERM arrived.
pub(crate) static DRAINING: AtomicBool = AtomicBool::new(false);

/// With `--polite`: its accept loop, and the connections without a whole answer.
pub(crate) static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How long the polite accept loop waits before it looks for a signal, in milliseconds.
const LOOK: libc::c_int = 10;

pub(crate) fn listener(wanted: &Wanted) -> Option<TcpListener> {
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
    if let Some(address) = wanted.text("--listen-at") {
        return listen_at(address);
    }
    if !wanted.has("--listen-env") {
        return None;
    }
    let host = env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else { refuse("`--listen-env` wants PORT") };
    match TcpListener::bind((host.as_str(), port)) {
        Ok(listener) => {
            if wanted.has("--no-reuse") {
                forbid_reuse(&listener);
            }
            Some(listener)
        }
        Err(error) => {
            eprintln!("cannot bind {host}:{port}: {error}");
            exit(1);
        }
    }
}

/// Listens at HOST:PORT, or at a path.
fn listen_at(address: &str) -> Option<TcpListener> {
    if address.contains('/') {
        std::mem::forget(UnixListener::bind(address).expect("the path is free"));
        return None;
    }
    Some(TcpListener::bind(address).expect("the address is free"))
}

/// What a server does that never sets `SO_REUSEADDR`: its closed connections keep the port.
fn forbid_reuse(listener: &TcpListener) {
    let no: libc::c_int = 0;
    let size = libc::socklen_t::try_from(size_of_val(&no)).expect("it is small");
    // SAFETY: the descriptor is open, and the value lives until the call returns.
    unsafe {
        let fd = listener.as_raw_fd();
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const no).cast(), size);
    }
}

/// Waits for an answer from that address, and keeps the connection.
pub(crate) fn call(address: &str) -> TcpStream {
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
pub(crate) fn serve(wanted: &Wanted, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return };
    let Some(status) = wanted.number("--http") else {
        std::mem::forget(listener);
        return;
    };
    if wanted.has("--polite") {
        return serve_politely(listener, status);
    }
    let counts = wanted.has("--count");
    thread::spawn(move || {
        for (count, stream) in (1..).zip(listener.incoming().flatten()) {
            let count: Option<u64> = counts.then_some(count);
            thread::spawn(move || answer(stream, status, count));
        }
    });
}

/// Answers what it accepted, and accepts nothing once it drains. It never blocks in `accept`: the
/// socket is shared with another run.
fn serve_politely(listener: TcpListener, status: u64) {
    listener.set_nonblocking(true).expect("a socket");
    OPEN.fetch_add(1, Ordering::SeqCst);
    thread::spawn(move || {
        while !DRAINING.load(Ordering::SeqCst) {
            let events = libc::POLLIN;
            let mut look = libc::pollfd { fd: listener.as_raw_fd(), events, revents: 0 };
            // SAFETY: the pointer is to one live value.
            unsafe { libc::poll(&raw mut look, 1, LOOK) };
            let Ok((stream, _)) = listener.accept() else { continue };
            OPEN.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                if stream.set_nonblocking(false).is_ok() {
                    answer(stream, status, None);
                }
                OPEN.fetch_sub(1, Ordering::SeqCst);
            });
        }
        OPEN.fetch_sub(1, Ordering::SeqCst);
    });
}

pub(crate) fn answer(mut stream: TcpStream, status: u64, count: Option<u64>) {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(length) => head.extend_from_slice(&part[..length]),
        }
    }
    let mut pid = std::process::id().to_string();
    if let Some(count) = count {
        pid = format!("{pid} {count}");
    }
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Misbehaving\r\nlocation: /elsewhere\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{pid}",
        pid.len()
    );
}

pub(crate) fn notify(message: &str) {
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
pub(crate) fn send_abstract(socket: &UnixDatagram, name: &str, message: &str) -> io::Result<usize> {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(message.as_bytes(), &address)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn send_abstract(_: &UnixDatagram, _: &str, _: &str) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
