//! A relay: callers in the stack's network reach a process that listens on loopback only.
//!
//! It passes bytes on and understands none. Where the process does not listen the caller's
//! connection ends at once, as it would without a relay.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;

/// A relay that listens; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder(AbortHandle);

impl Forwarder {
    /// Listens on `gateway` at the port of `target`, and passes on to `target`. None where
    /// somebody listens there already: the process itself, on all addresses.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) async fn start(gateway: IpAddr, target: SocketAddr) -> io::Result<Option<Self>> {
        let listener = match listen(SocketAddr::new(gateway, target.port())) {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self(tokio::spawn(serve(listener, target)).abort_handle())))
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens at an address that may be there only later: Podman makes a network's bridge with
/// the first container in it.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    #[cfg(target_os = "linux")]
    match address {
        SocketAddr::V4(_) => rustix::net::sockopt::set_ip_freebind(&socket, true)?,
        SocketAddr::V6(_) => rustix::net::sockopt::set_ipv6_freebind(&socket, true)?,
    }
    socket.bind(address)?;
    socket.listen(1024)
}

async fn serve(listener: TcpListener, target: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((caller, _)) => drop(tokio::spawn(connect_and_forward(caller, target))),
            // Too many open files, say: the callers wait meanwhile.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

async fn connect_and_forward(caller: TcpStream, target: SocketAddr) {
    if let Ok(process) = TcpStream::connect(target).await {
        forward(caller, process).await;
    }
}

/// Passes bytes both ways, and how each way ends: an answer that was cut short must not look
/// like a whole one.
pub(crate) async fn forward(mut caller: TcpStream, mut callee: TcpStream) {
    let _ = (caller.set_nodelay(true), callee.set_nodelay(true));
    if tokio::io::copy_bidirectional(&mut caller, &mut callee).await.is_err() {
        let _ = (caller.set_zero_linger(), callee.set_zero_linger());
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn it_listens_at_an_address_that_this_machine_does_not_have_yet() {
        // One of those that are kept for documents.
        let forwarder =
            Forwarder::start("192.0.2.1".parse().unwrap(), "127.0.0.1:0".parse().unwrap());
        assert!(forwarder.await.unwrap().is_some());
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn bytes_go_both_ways_and_the_end_is_passed_on() {
        let process = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = process.local_addr().unwrap();
        // Another address of the loopback stands for the gateway.
        let gateway: IpAddr = "127.0.0.2".parse().unwrap();
        let forwarder = Forwarder::start(gateway, target).await.unwrap().unwrap();
        assert!(Forwarder::start(gateway, target).await.unwrap().is_none());

        let mut caller = TcpStream::connect((gateway, target.port())).await.unwrap();
        caller.write_all(b"ask").await.unwrap();
        caller.shutdown().await.unwrap();
        let (mut accepted, _) = process.accept().await.unwrap();
        let mut asked = String::new();
        accepted.read_to_string(&mut asked).await.unwrap();
        accepted.write_all(b"answer").await.unwrap();
        drop(accepted);
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert_eq!((asked.as_str(), answer.as_str()), ("ask", "answer"));

        drop(process);
        let mut refused = TcpStream::connect((gateway, target.port())).await.unwrap();
        assert!(refused.read_to_string(&mut String::new()).await.unwrap_or(0) == 0);
        drop(forwarder);
    }
}
