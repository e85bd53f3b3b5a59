//! Forwards connections from the stack's network to a process that listens on loopback.
//!
//! A caller from another network is closed at once: a process on loopback is not meant for the
//! machine's neighbours. So is every caller while the process does not listen. This module does
//! not interpret the bytes.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::subnet::Subnet;

use crate::system::task;

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    _serving: JoinSet<()>,
}

impl Forwarder {
    /// Listens on the network's gateway at the port of `target`, and forwards its callers to
    /// `target`. None if the port is in use there: the process itself listens on all addresses.
    pub(crate) async fn start(subnet: Subnet, target: SocketAddr) -> io::Result<Option<Self>> {
        let listener = match listen(SocketAddr::new(subnet.gateway.into(), target.port())) {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut serving = JoinSet::new();
        serving.spawn(task::boxed(serve(listener, subnet, target)));
        Ok(Some(Self { _serving: serving }))
    }
}

/// Listens at an address that the machine may not have yet: Podman creates a network's
/// bridge with the first container in it.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    #[cfg(target_os = "linux")]
    match address {
        SocketAddr::V4(_) => SockRef::from(&socket).set_freebind_v4(true)?,
        SocketAddr::V6(_) => SockRef::from(&socket).set_freebind_v6(true)?,
    }
    socket.bind(address)?;
    socket.listen(1024)
}

async fn serve(listener: TcpListener, subnet: Subnet, target: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((_, address)) if !subnet.contains(address.ip()) => {}
            Ok((caller, _)) => drop(task::spawn(connect_and_forward(caller, target))),
            // For example too many open files: callers wait in the queue.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

async fn connect_and_forward(caller: TcpStream, target: SocketAddr) {
    if let Ok(process) = TcpStream::connect(target).await {
        forward(caller, process).await;
    }
}

/// Forwards bytes both ways, and returns whether the caller got what it asked for: false if the
/// callee ended without an answer to the caller's bytes. A reset is forwarded as a reset, so that a
/// truncated answer does not look complete.
pub(crate) async fn forward(mut caller: TcpStream, mut callee: TcpStream) -> bool {
    let _ = (caller.set_nodelay(true), callee.set_nodelay(true));
    match tokio::io::copy_bidirectional(&mut caller, &mut callee).await {
        Ok((asked, answered)) => asked == 0 || answered > 0,
        Err(_) => {
            let _ = (caller.set_zero_linger(), callee.set_zero_linger());
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A network of 256 addresses.
    fn subnet(gateway: &str) -> Subnet {
        Subnet::parse(&format!("{gateway}/24,{gateway}")).unwrap()
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn forwarder_listens_at_a_future_address() {
        // An address that is reserved for documentation.
        let forwarder = Forwarder::start(subnet("192.0.2.1"), "127.0.0.1:0".parse().unwrap());
        assert!(forwarder.await.unwrap().is_some());
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn forwarder_forwards_bytes_and_the_end() {
        let process = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = process.local_addr().unwrap();
        // Another loopback address serves as the gateway.
        let gateway = subnet("127.0.0.2");
        let forwarder = Forwarder::start(gateway, target).await.unwrap().unwrap();
        assert!(Forwarder::start(gateway, target).await.unwrap().is_none());

        let mut caller = TcpStream::connect((gateway.gateway, target.port())).await.unwrap();
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

        // A neighbour of another network gets nothing.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.1.1:0".parse().unwrap()).unwrap();
        let mut foreign = socket.connect((gateway.gateway, target.port()).into()).await.unwrap();
        assert!(foreign.read_to_string(&mut String::new()).await.unwrap_or(0) == 0);

        drop(process);
        let mut refused = TcpStream::connect((gateway.gateway, target.port())).await.unwrap();
        assert!(refused.read_to_string(&mut String::new()).await.unwrap_or(0) == 0);
        drop(forwarder);
    }
}
