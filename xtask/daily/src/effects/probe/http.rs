//! One HTTP/1.1 GET, which returns the status of the answer.
//!
//! A request can be queued: sent to a listening socket before any process accepts from it, so that
//! the first accept answers it. Redirects are not followed, and bodies are read and discarded.

use std::io::ErrorKind::{NotConnected, WouldBlock};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xtask_core::terms::host::authority;

use crate::system::socket::call;
use crate::system::task;

/// The longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 32 * 1024;

/// How many bytes of an answer are read and discarded.
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// How long an answer is read and discarded.
const LONGEST_DRAIN: Duration = Duration::from_secs(5);

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

    /// Connects and sends without waiting. The request holds `counted` until it is answered.
    pub(crate) fn queue(&self, address: SocketAddr, counted: Arc<()>) -> io::Result<Queued> {
        let mut stream = call(address)?;
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
        exchange(connect(address).await?, &self.bytes).await
    }
}

/// As [`TcpStream::connect`], without a wait where the kernel connects or refuses at once.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let calling = call(address)?;
    let connected = calling.peer_addr().is_ok();
    let stream = TcpStream::from_std(calling)?;
    if !connected {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    Ok(stream)
}

async fn exchange(mut stream: TcpStream, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request).await?;
    let status = read_status(&mut stream).await?;
    task::spawn(finish(stream));
    Ok(status)
}

/// Reads what the server still sends, within bounds, and closes so that the server keeps no trace.
///
/// A connection that is closed under a server's answer makes it log a broken pipe, or kills it by
/// SIGPIPE. A server that closes first would keep the connection in `TIME_WAIT` on its port, and
/// one without `SO_REUSEADDR` could not bind again; a reset after its end removes that.
pub(crate) async fn finish(mut stream: TcpStream) {
    let mut answer = (&mut stream).take(LONGEST_ANSWER);
    let mut sink = tokio::io::sink();
    let drained = tokio::io::copy(&mut answer, &mut sink);
    if let Ok(Ok(_)) = tokio::time::timeout(LONGEST_DRAIN, drained).await
        && answer.limit() > 0
    {
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

async fn read_status(stream: &mut TcpStream) -> io::Result<u16> {
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
    use crate::system::socket::stream_socket;

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

    /// Serves one caller: an answer in parts, each a moment after the one before.
    fn serve_in_parts(listener: std::net::TcpListener) -> std::thread::JoinHandle<io::Result<()>> {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            io::Read::read(&mut stream, &mut [0; 1024])?;
            for part in ["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "one", "two", "three"] {
                stream.write_all(part.as_bytes())?;
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        })
    }

    #[tokio::test]
    async fn probe_reads_whole_answers_and_leaves_no_time_wait() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve_in_parts(listener);
        let request = Request::new("127.0.0.1", address.port(), "/");
        assert_eq!(request.get(address).await.unwrap(), 200);
        let served = tokio::task::spawn_blocking(|| server.join().unwrap()).await.unwrap();
        served.expect("the server writes without an error");
        // Without `SO_REUSEADDR` a connection in TIME_WAIT would hold the port for a minute.
        let bound = async {
            loop {
                let socket = stream_socket(address).unwrap();
                if socket.bind(&address.into()).is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), bound).await.unwrap();
    }
}
