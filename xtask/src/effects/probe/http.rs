//! One HTTP/1.1 GET, which returns the status of the answer.
//!
//! A request can be queued: sent to a listening socket before any process accepts from it, so that
//! the first accept answers it. Redirects are not followed and bodies are not read.

use std::io::ErrorKind::{NotConnected, WouldBlock};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::net::AddressFamily;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xtask_core::terms::host::authority;

use crate::system::socket::stream_socket;

/// The longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 32 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

/// A request that waits for its accept.
#[derive(Debug)]
pub(crate) struct Queued {
    stream: std::net::TcpStream,
    sent: usize,
    /// Counts as a queued request until it is answered.
    _counted: Arc<()>,
}

impl Request {
    /// A GET of `path`; `host` and `port` make the `Host` header.
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

    /// Connects and sends without waiting: the kernel completes a connection to a listening socket
    /// of this machine before the system call returns. The request holds `counted` until it is
    /// answered.
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
            Err(error) if matches!(error.kind(), WouldBlock | NotConnected) => 0,
            written => written?,
        };
        Ok(Queued { stream, sent, _counted: counted })
    }

    /// Waits, without a timeout, for the status of the answer to a queued request.
    pub(crate) async fn answer(&self, queued: Queued) -> io::Result<u16> {
        let Queued { stream, sent, _counted } = queued;
        let stream = TcpStream::from_std(stream)?;
        exchange(stream, self.bytes.get(sent..).unwrap_or_default()).await
    }

    pub(crate) async fn get(&self, address: SocketAddr) -> io::Result<u16> {
        exchange(TcpStream::connect(address).await?, &self.bytes).await
    }
}

async fn exchange(mut stream: TcpStream, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request).await?;
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            let place = if head.is_empty() { "without an" } else { "within the" };
            let message = format!("connection closed {place} answer");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        if let Some(status) = status(&head)? {
            return Ok(status);
        }
        if head.len() > LONGEST_HEAD {
            return Err(not_http());
        }
    }
}

/// The final status in the beginning of an answer; none if it has not arrived.
fn status(mut head: &[u8]) -> io::Result<Option<u16>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(head);
        match (response.code, parsed) {
            // An interim answer; the final one follows.
            (Some(100..=199), Ok(httparse::Status::Complete(length))) => head = &head[length..],
            (Some(100..=199), Ok(httparse::Status::Partial)) => return Ok(None),
            (Some(code), Ok(_) | Err(httparse::Error::TooManyHeaders)) => return Ok(Some(code)),
            (None, Ok(_)) => return Ok(None),
            (_, Err(_)) => return Err(not_http()),
        }
    }
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_from_an_incomplete_head() {
        assert_eq!(status(b"HTTP/1.1 20").unwrap(), None);
        assert_eq!(status(b"HTTP/1.1 401 Unauthorized\r\n").unwrap(), Some(401));
        assert_eq!(status(b"HTTP/1.1 307 \r\nLocation: /x\r\n\r\n").unwrap(), Some(307));
    }

    #[test]
    fn interim_answers_are_skipped() {
        assert_eq!(status(b"HTTP/1.1 103 Early Hints\r\n\r\n").unwrap(), None);
        assert_eq!(
            status(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n").unwrap(),
            Some(200)
        );
    }

    #[test]
    fn non_http_answer_is_an_error() {
        assert!(status(b"SSH-2.0-OpenSSH\r\n").is_err());
    }

    #[test]
    fn request_names_the_host_and_closes() {
        let request = Request::new("::1", 80, "/readyz?x=1");
        let text = String::from_utf8(request.bytes).unwrap();
        assert!(text.starts_with("GET /readyz?x=1 HTTP/1.1\r\nHost: [::1]:80\r\n"), "{text}");
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    }
}
