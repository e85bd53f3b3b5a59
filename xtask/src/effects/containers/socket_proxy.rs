//! A front: what accepts, in a container's stead, from the sockets that its service would
//! inherit as a process.
//!
//! A caller is left in the queue of the socket until the container has taken a connection,
//! and only then accepted: while nobody listens inside, and while a run is stopped, paused
//! or not there, callers wait where they would wait for a process. It passes bytes on and
//! understands none.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::engine::Engine;
use super::forwarder;
use super::running::RunningContainer;
use super::stack::Network;
use crate::effects::probe::ExpectedListener;
use crate::system::async_fd::async_fd;

/// The first and the longest pause between two attempts to connect to the container.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The pause after an accept for which the system had nothing to spare.
const SHORTAGE: Duration = Duration::from_millis(50);

/// Where a port of a container is connected to.
#[derive(Clone, Debug)]
pub(crate) struct ContainerTarget {
    /// By this machine.
    pub(crate) address: SocketAddr,
    /// Who must listen, where somebody else accepts for the container.
    pub(crate) listener: ExpectedListener,
}

/// Accepts for one run; it ends when this is dropped, and the connections go on.
#[derive(Debug)]
pub(crate) struct SocketProxy {
    open: watch::Sender<bool>,
    accepting: Vec<AbortHandle>,
}

impl SocketProxy {
    /// One that accepts on nothing yet.
    pub(crate) fn new() -> Self {
        Self { open: watch::Sender::new(true), accepting: Vec::new() }
    }

    /// Whether callers are accepted; one that has been told to stop takes none.
    pub(crate) fn gate(&self) -> watch::Sender<bool> {
        self.open.clone()
    }

    /// Accepts from a socket for this port.
    ///
    /// # Errors
    /// When the socket cannot be waited for.
    pub(crate) fn accept(&mut self, socket: OwnedFd, inside: ContainerTarget) -> io::Result<()> {
        let socket = Socket::new(socket)?;
        let serving = tokio::spawn(serve(socket, inside, self.open.subscribe()));
        self.accepting.push(serving.abort_handle());
        Ok(())
    }
}

impl ContainerTarget {
    /// Where a port of a container that runs is; none if it ended meanwhile.
    pub(crate) async fn of(
        port: u16,
        running: &RunningContainer,
        (engine, name): (&Engine, &str),
        network: &Network,
    ) -> Option<Self> {
        if network.gateway().is_some() {
            let address = SocketAddr::new(running.address?, port);
            return Some(Self { address, listener: ExpectedListener::Any });
        }
        let published = engine.query(&["port", name, &format!("{port}/tcp")]).await.ok()?;
        let address = published.lines().next()?.trim().parse().ok()?;
        let listener = match running.init {
            0 => ExpectedListener::Any,
            init => ExpectedListener::Container { init, port },
        };
        Some(Self { address, listener })
    }
}

impl Drop for SocketProxy {
    fn drop(&mut self) {
        self.accepting.iter().for_each(AbortHandle::abort);
    }
}

async fn serve(mut socket: Socket, inside: ContainerTarget, mut open: watch::Receiver<bool>) {
    while open.wait_for(|open| *open).await.is_ok() {
        tokio::select! {
            biased;
            _ = open.changed() => {}
            passed = socket.pass_next(&inside) => {
                if passed.is_err() {
                    // Too many open files, say: the callers wait meanwhile.
                    tokio::time::sleep(SHORTAGE).await;
                }
            }
        }
    }
}

/// A socket that listens, and that a process may inherit later as it was.
#[derive(Debug)]
struct Socket(AsyncFd<TcpListener>);

impl Socket {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        async_fd(listener).map(Self)
    }

    /// Waits for a caller, connects it with the container, and lets the two talk.
    async fn pass_next(&mut self, inside: &ContainerTarget) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        if !has_caller(ready.get_inner())? {
            ready.clear_ready();
            return Ok(());
        }
        let container = connect(inside).await;
        let (caller, _) = ready.get_inner().accept()?;
        caller.set_nonblocking(true)?;
        tokio::spawn(forwarder::forward(TcpStream::from_std(caller)?, container));
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The setting belongs to the socket, not to this descriptor of it.
        let _ = self.0.get_ref().set_nonblocking(false);
    }
}

/// Whether somebody waits to be accepted.
fn has_caller(socket: &TcpListener) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&now))? > 0)
}

/// A connection to the container, once somebody listens there.
async fn connect(inside: &ContainerTarget) -> TcpStream {
    let (mut pause, longest) = PAUSES;
    loop {
        if inside.listener.check(inside.address).is_ok()
            && let Ok(stream) = TcpStream::connect(inside.address).await
        {
            return stream;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::system::listeners;

    /// A held socket with its address, and an address where nobody listens yet.
    fn held() -> (TcpListener, SocketAddr, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let free = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
        (socket, address, free)
    }

    fn proxy(socket: &TcpListener, address: SocketAddr) -> SocketProxy {
        let mut proxy = SocketProxy::new();
        let inside = ContainerTarget { address, listener: ExpectedListener::Any };
        proxy.accept(socket.try_clone().unwrap().into(), inside).unwrap();
        proxy
    }

    async fn ask(address: SocketAddr, word: &str) -> TcpStream {
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(word.as_bytes()).await.unwrap();
        caller.shutdown().await.unwrap();
        caller
    }

    async fn text(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Accepts one and answers what it said, twice.
    async fn answer(container: &tokio::net::TcpListener) {
        let (mut accepted, _) = container.accept().await.unwrap();
        let word = text(&mut accepted).await;
        accepted.write_all(word.repeat(2).as_bytes()).await.unwrap();
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn callers_wait_in_the_queue_until_somebody_listens_inside() {
        let (socket, address, inside) = held();
        let mut early = ask(address, "early").await;
        let running = proxy(&socket, inside);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(listeners::waiting_callers()[&address.port()], 1);
        let container = tokio::net::TcpListener::bind(inside).await.unwrap();
        answer(&container).await;
        assert_eq!(text(&mut early).await, "earlyearly");

        // Told to stop, and gone: the next run answers.
        running.gate().send_replace(false);
        let mut late = ask(address, "late").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(listeners::waiting_callers()[&address.port()], 1);
        drop((running, container));
        let (_, _, other) = held();
        let container = tokio::net::TcpListener::bind(other).await.unwrap();
        let _running = proxy(&socket, other);
        answer(&container).await;
        assert_eq!(text(&mut late).await, "latelate");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_inside_breaks_outside() {
        let (socket, address, _) = held();
        let container = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _running = proxy(&socket, container.local_addr().unwrap());
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(b"?").await.unwrap();
        let (mut accepted, _) = container.accept().await.unwrap();
        assert_eq!(accepted.read(&mut [0]).await.unwrap(), 1);
        accepted.set_zero_linger().unwrap();
        drop(accepted);
        let broken = caller.read(&mut [0]).await.unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_socket_is_left_as_it_was_for_a_process_that_inherits_it() {
        let (socket, _, inside) = held();
        let blocks = || {
            let flags = rustix::fs::fcntl_getfl(&socket).unwrap();
            !flags.contains(rustix::fs::OFlags::NONBLOCK)
        };
        let running = proxy(&socket, inside);
        assert!(!blocks());
        drop(running);
        tokio::task::yield_now().await;
        assert!(blocks());
    }
}
