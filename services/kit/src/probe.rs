//! `--probe PATH`: the program asks its own address and exits with the answer, for health checks
//! in images that have neither a shell nor curl.
//!
//! One plain GET without redirects; it starts nothing and reads no database.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::listener::Address;

/// How long the whole probe may take for each of its steps.
const STEP_TIME: Duration = Duration::from_secs(2);

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody answers there.
    #[error("asking `{address}`")]
    Unreachable {
        /// The address that was asked.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The answer is no success.
    #[error("`{path}` answered `{seen}`, expected a status of 200 to 299")]
    Refused {
        /// The path that was asked for.
        path: String,
        /// The first line of the answer.
        seen: String,
    },
}

/// Asks `path` at `address`.
///
/// # Errors
/// When nobody answers in time, or not with success.
pub fn probe(address: &Address, path: &str) -> Result<(), ProbeError> {
    // A service on all addresses is asked on the loopback one.
    let host = match address.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" | "[::]" => "::1",
        host => host,
    };
    let address = Address { host: host.to_owned(), port: address.port };
    let line = ask(&address, path)
        .map_err(|source| ProbeError::Unreachable { address: address.display(), source })?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    match status {
        Some(200..=299) => Ok(()),
        _ => Err(ProbeError::Refused { path: path.to_owned(), seen: line }),
    }
}

fn ask(address: &Address, path: &str) -> io::Result<String> {
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in (host, address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, STEP_TIME) {
            Ok(stream) => return exchange(stream, address, path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: TcpStream, address: &Address, path: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(STEP_TIME))?;
    stream.set_write_timeout(Some(STEP_TIME))?;
    let host = address.display();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    stream.take(1024).read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    Ok(head.lines().next().unwrap_or_default().to_owned())
}
