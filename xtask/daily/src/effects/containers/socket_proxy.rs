//! Forwards connections from the sockets that a service would inherit as a process to its
//! container.
//!
//! It connects to the container first, and accepts the caller only then. Until the container
//! listens, and while a run is stopped or paused, callers wait in the queue of the socket, as
//! they would for a process. It does not interpret the bytes.
//!
//! A process that exits closes its connections before its listener. A caller that returns in
//! between would reach the queue of the dying listener and be reset. So after a connection without
//! an answer the proxy checks for [`DOUBT`] that the connection of the next caller survives.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::engine::{Engine, RunningContainer};
use super::forwarder;
use super::stack::Network;
use crate::effects::probe::ExpectedListener;
use crate::system::async_fd::{async_fd, is_readable};
use crate::system::task;

/// The first and the longest pause between two attempts to connect to the container.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The pause after an accept that failed, for example without a free descriptor.
const SHORTAGE: Duration = Duration::from_millis(50);

/// How long the container is in doubt after a connection without an answer, and how long a
/// connection must survive meanwhile.
const DOUBT: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub(crate) struct ContainerTarget {
    pub(crate) address: SocketAddr,
    /// The process that must listen, because the engine accepts before it does.
    pub(crate) listener: ExpectedListener,
}

/// Accepts connections for one run until it is dropped. Accepted connections stay open.
#[derive(Debug)]
pub(crate) struct SocketProxy {
    open: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

impl SocketProxy {
    pub(crate) fn new() -> Self {
        Self { open: watch::Sender::new(true), accepting: JoinSet::new() }
    }

    /// Controls whether the proxy accepts; false from the stop of the run on.
    pub(crate) fn gate(&self) -> watch::Sender<bool> {
        self.open.clone()
    }

    /// Accepts from a socket and connects to this target.
    pub(crate) fn accept(&mut self, socket: OwnedFd, inside: ContainerTarget) -> io::Result<()> {
        let socket = Socket::new(socket)?;
        self.accepting.spawn(task::boxed(serve(socket, inside, self.open.subscribe())));
        Ok(())
    }
}

impl ContainerTarget {
    /// The target for a port of a running container; none if it has ended meanwhile.
    pub(crate) async fn of(
        port: u16,
        running: &RunningContainer,
        (engine, name): (&Engine, &str),
        network: &Network,
    ) -> Option<Self> {
        if network.subnet().is_some() {
            let address = SocketAddr::new(running.address?, port);
            return Some(Self { address, listener: ExpectedListener::Any });
        }
        let address = engine.published(name, port).await?;
        let listener = match running.init {
            0 => ExpectedListener::Any,
            init => ExpectedListener::Container { init, port },
        };
        Some(Self { address, listener })
    }
}

async fn serve(mut socket: Socket, inside: ContainerTarget, mut open: watch::Receiver<bool>) {
    while open.wait_for(|open| *open).await.is_ok() {
        tokio::select! {
            biased;
            _ = open.changed() => {}
            passed = socket.pass_next(&inside) => {
                if passed.is_err() {
                    tokio::time::sleep(SHORTAGE).await;
                }
            }
        }
    }
}

/// A listening socket, which a process may inherit later in its original state.
#[derive(Debug)]
struct Socket {
    listener: AsyncFd<TcpListener>,
    /// When the last connection ended without an answer.
    unanswered: watch::Sender<Option<Instant>>,
}

impl Socket {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(Self { listener: async_fd(listener)?, unanswered: watch::Sender::new(None) })
    }

    /// Waits for a caller, and connects it with the container.
    async fn pass_next(&mut self, inside: &ContainerTarget) -> io::Result<()> {
        let mut ready = self.listener.readable().await?;
        if !is_readable(ready.get_inner())? {
            ready.clear_ready();
            return Ok(());
        }
        let mut container = connect(inside).await;
        while self.is_in_doubt() && !survives(&container).await {
            container = connect(inside).await;
        }
        let (caller, _) = ready.get_inner().accept()?;
        caller.set_nonblocking(true)?;
        let (caller, unanswered) = (TcpStream::from_std(caller)?, self.unanswered.clone());
        task::spawn(async move {
            if !forwarder::forward(caller, container).await {
                unanswered.send_replace(Some(Instant::now()));
            }
        });
        Ok(())
    }

    fn is_in_doubt(&self) -> bool {
        self.unanswered.borrow().is_some_and(|ended| ended.elapsed() < DOUBT)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Non-blocking mode belongs to the socket, not to this descriptor.
        let _ = self.listener.get_ref().set_nonblocking(false);
    }
}

/// Whether the container does not end a new connection within [`DOUBT`]. It consumes no bytes.
async fn survives(connection: &TcpStream) -> bool {
    match tokio::time::timeout(DOUBT, connection.peek(&mut [0])).await {
        Ok(first) => first.is_ok_and(|read| read > 0),
        Err(_) => true,
    }
}

/// Connects to the container as soon as it listens.
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
    use crate::system::tcp;

    /// A held socket with its address, and an address without a listener.
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

    /// Accepts one connection and answers its text twice.
    async fn answer(container: &tokio::net::TcpListener) {
        let (mut accepted, _) = container.accept().await.unwrap();
        let word = text(&mut accepted).await;
        accepted.write_all(word.repeat(2).as_bytes()).await.unwrap();
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn callers_wait_until_the_container_listens() {
        let (socket, address, inside) = held();
        let mut early = ask(address, "early").await;
        let running = proxy(&socket, inside);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(tcp::waiting_callers()[&address.port()], 1);
        let container = tokio::net::TcpListener::bind(inside).await.unwrap();
        answer(&container).await;
        assert_eq!(text(&mut early).await, "earlyearly");

        // After a stop the next run answers.
        running.gate().send_replace(false);
        let mut late = ask(address, "late").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(tcp::waiting_callers()[&address.port()], 1);
        drop((running, container));
        let (_, _, other) = held();
        let container = tokio::net::TcpListener::bind(other).await.unwrap();
        let _running = proxy(&socket, other);
        answer(&container).await;
        assert_eq!(text(&mut late).await, "latelate");
    }

    #[tokio::test]
    async fn caller_is_kept_from_listener_of_dying_container() {
        let (socket, address, _) = held();
        let container = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inside = container.local_addr().unwrap();
        let _running = proxy(&socket, inside);
        let mut last = ask(address, "exit").await;
        let (mut accepted, _) = container.accept().await.unwrap();
        assert_eq!(text(&mut accepted).await, "exit");
        // As an exit does: first the connection, then the listener.
        drop(accepted);
        assert_eq!(text(&mut last).await, "");
        drop(last);
        let mut next = ask(address, "next").await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(container);
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(inside).unwrap();
        let container = socket.listen(8).unwrap();
        answer(&container).await;
        assert_eq!(text(&mut next).await, "nextnext");
    }

    #[tokio::test]
    async fn reset_by_the_container_reaches_the_caller() {
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
    async fn socket_blocks_again_after_the_proxy() {
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
