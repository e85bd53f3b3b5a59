//! One HTTP/1.1 GET, of which only the status matters.
//!
//! A request can be queued: sent on a listening socket that nobody accepts from yet,
//! so that the first accept answers it. Redirects are not followed and bodies are
//! not read.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::net::AddressFamily;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xtask_core::terms::host::authority;

use crate::system::socket::stream_socket;

/// The longest head of an answer that is read, in bytes.
const LONGEST_HEAD: usize = 32 * 1024;

/// A request as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

/// A request that waits for somebody to accept it.
#[derive(Debug)]
pub(crate) struct Queued {
    stream: std::net::TcpStream,
    sent: usize,
    /// Counted as long as nobody answered.
    _counted: Arc<()>,
}

impl Request {
    /// A GET of `path`; `host` and `port` are what the service is called by.
    pub(crate) fn new(host: &str, port: u16, path: &str) -> Self {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let bytes = format!(
            "GET {slash}{path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: xtask-probe\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n",
            authority(host, port)
        )
        .into_bytes();
        Self { bytes }
    }

    /// Connects and sends without waiting for anybody: a call to a listening socket
    /// of this machine is made by the time the system call returns.
    ///
    /// `counted` is held as long as the request is unanswered.
    ///
    /// # Errors
    /// When nobody listens, or the queue is full.
    pub(crate) fn queue(&self, address: SocketAddr, counted: Arc<()>) -> io::Result<Queued> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = stream_socket(family)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let mut stream = std::net::TcpStream::from(socket);
        let sent = match stream.write(&self.bytes) {
            Ok(sent) => sent,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                ) =>
            {
                0
            }
            Err(error) => return Err(error),
        };
        Ok(Queued { stream, sent, _counted: counted })
    }

    /// Waits, without limit, for the answer to a queued request: its status.
    ///
    /// # Errors
    /// When the connection breaks before a status came, or it is no HTTP.
    pub(crate) async fn answer(&self, queued: Queued) -> io::Result<u16> {
        let Queued { stream, sent, _counted } = queued;
        let stream = TcpStream::from_std(stream)?;
        exchange(stream, self.bytes.get(sent..).unwrap_or_default()).await
    }

    /// Makes the request: its status.
    ///
    /// # Errors
    /// When the connection cannot be made or breaks before a status came, or it is no
    /// HTTP.
    pub(crate) async fn get(&self, address: SocketAddr) -> io::Result<u16> {
        exchange(TcpStream::connect(address).await?, &self.bytes).await
    }
}

async fn exchange(mut stream: TcpStream, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request).await?;
    let mut head = Vec::with_capacity(1024);
    loop {
        let before = head.len();
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                if before == 0 { "connection closed without an answer" } else { "half an answer" },
            ));
        }
        if let Some(status) = status(&head)? {
            return Ok(status);
        }
        if head.len() > LONGEST_HEAD {
            return Err(not_http());
        }
    }
}

/// The final status in the beginning of an answer, once it is there.
fn status(mut head: &[u8]) -> io::Result<Option<u16>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(head);
        match (response.code, parsed) {
            // An interim answer: the one that counts comes after it.
            (Some(100..=199), Ok(httparse::Status::Complete(length))) => head = &head[length..],
            (Some(100..=199), Ok(httparse::Status::Partial)) => return Ok(None),
            (Some(code), Ok(_) | Err(httparse::Error::TooManyHeaders)) => return Ok(Some(code)),
            (None, Ok(_)) => return Ok(None),
            (_, Err(_)) => return Err(not_http()),
        }
    }
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer that is not HTTP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_known_as_soon_as_its_line_is() {
        assert_eq!(status(b"HTTP/1.1 20").unwrap(), None);
        assert_eq!(status(b"HTTP/1.1 401 Unauthorized\r\n").unwrap(), Some(401));
        assert_eq!(status(b"HTTP/1.1 307 \r\nLocation: /x\r\n\r\n").unwrap(), Some(307));
    }

    #[test]
    fn an_interim_answer_is_not_the_answer() {
        assert_eq!(status(b"HTTP/1.1 103 Early Hints\r\n\r\n").unwrap(), None);
        assert_eq!(
            status(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n").unwrap(),
            Some(200)
        );
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(status(b"SSH-2.0-OpenSSH\r\n").is_err());
    }

    #[test]
    fn the_request_names_the_host_and_closes() {
        let request = Request::new("::1", 80, "/readyz?x=1");
        let text = String::from_utf8(request.bytes).unwrap();
        assert!(text.starts_with("GET /readyz?x=1 HTTP/1.1\r\nHost: [::1]:80\r\n"), "{text}");
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    }
}
