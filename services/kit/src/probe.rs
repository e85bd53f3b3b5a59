//! `--probe PATH`: the program sends one GET to its own address, for health checks in images
//! without a shell or curl.
//!
//! It follows no redirect, starts nothing and reads no database.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::listener::BindAddress;

/// The timeout of each step: connect, write, read.
const STEP_TIME: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("failed to probe `{address}`")]
    Unreachable { address: String, source: io::Error },
    #[error("`{path}` answered `{seen}`, expected a status of 200 to 299")]
    Refused { path: String, seen: String },
}

/// Sends a GET for `path` to `address`.
pub(crate) fn probe(address: &BindAddress, path: &str) -> Result<(), ProbeError> {
    // A service on all addresses is reached at the loopback address.
    let host = match address.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" | "[::]" => "::1",
        host => host,
    };
    let address = BindAddress { host: host.to_owned(), port: address.port };
    let line = get(&address, path)
        .map_err(|source| ProbeError::Unreachable { address: address.display(), source })?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    match status {
        Some(200..=299) => Ok(()),
        _ => Err(ProbeError::Refused { path: path.to_owned(), seen: line }),
    }
}

/// The first line of the answer.
fn get(address: &BindAddress, path: &str) -> io::Result<String> {
    let mut stream = Err(io::ErrorKind::NotFound.into());
    for candidate in address.resolve()? {
        stream = TcpStream::connect_timeout(&candidate, STEP_TIME);
        if stream.is_ok() {
            break;
        }
    }
    let mut stream = stream?;
    stream.set_read_timeout(Some(STEP_TIME))?;
    stream.set_write_timeout(Some(STEP_TIME))?;
    let host = address.display();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    stream.take(1024).read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    Ok(head.lines().next().unwrap_or_default().to_owned())
}
