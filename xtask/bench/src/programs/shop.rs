//! A service that answers each request with its version, on the socket that it inherits.
//!
//! It ends between two requests: a caller whose connection it has accepted gets its answer, and the
//! next ones wait for the next run.

use std::ffi::c_int;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;

unsafe extern "C" {
    fn sigemptyset(set: *mut [u64; 16]) -> c_int;
    fn sigaddset(set: *mut [u64; 16], signal: c_int) -> c_int;
    fn sigwait(set: *const [u64; 16], signal: *mut c_int) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const [u64; 16], before: *mut [u64; 16]) -> c_int;
    fn poll(fds: *mut PollFd, count: u64, timeout: c_int) -> c_int;
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

/// Held while a request is answered.
static ANSWERING: Mutex<()> = Mutex::new(());

fn main() {
    let mut stop = [0; 16];
    unsafe {
        sigemptyset(&mut stop);
        sigaddset(&mut stop, 15);
        pthread_sigmask(0, &stop, std::ptr::null_mut());
    }
    std::thread::spawn(move || {
        unsafe { sigwait(&stop, &mut 0) };
        let _last = ANSWERING.lock();
        std::process::exit(0);
    });
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    listener.set_nonblocking(true).unwrap();
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", path));
    }
    loop {
        let mut wanted = PollFd { fd: listener.as_raw_fd(), events: 1, revents: 0 };
        unsafe { poll(&mut wanted, 1, -1) };
        let _busy = ANSWERING.lock();
        if let Ok((caller, _)) = listener.accept() {
            let _ = answer(caller);
        }
    }
}

fn answer(mut caller: TcpStream) -> std::io::Result<()> {
    caller.set_nonblocking(false)?;
    let _ = caller.read(&mut [0; 4096])?;
    caller.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nversion 0\n")
}
