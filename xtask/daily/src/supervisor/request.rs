//! Reads requests from the control socket: lines of bounded length.
//!
//! A client that sends slowly or without end costs bounded memory and delays no other client.
//! Lines are not parsed here.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A longer line waits for one of [`MOST_LONG_LINES`] permits. Most requests have about 100 bytes.
const SHORT_LINE_BYTES: u64 = 64 * 1024;

/// The longest accepted line. A plan of 1,000 services fits.
const LONGEST_LINE_BYTES: u64 = 4 * 1024 * 1024;

/// The number of long lines in memory at once.
pub(super) const MOST_LONG_LINES: usize = 8;

/// Time for a long line to arrive after it got its permit.
const LONG_LINE_TIME: Duration = Duration::from_secs(5);

/// Why no line was read.
pub(super) enum Unread {
    Gone,
    /// The line was refused, for this reason.
    Refused(String),
}

/// Reads the next line. A long line comes with its permit.
///
/// # Errors
/// When the connection is closed or the line is refused.
pub(super) async fn line<'a>(
    reader: &mut BufReader<OwnedReadHalf>,
    long_lines: &'a Semaphore,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'a>>), Unread> {
    let mut line = Vec::new();
    if extend(reader, SHORT_LINE_BYTES, &mut line).await? {
        return Ok((line, None));
    }
    if (line.len() as u64) < SHORT_LINE_BYTES {
        return Err(Unread::Gone);
    }
    let turn = long_lines.acquire().await.map_err(|_| Unread::Gone)?;
    let rest = extend(reader, LONGEST_LINE_BYTES - SHORT_LINE_BYTES, &mut line);
    match tokio::time::timeout(LONG_LINE_TIME, rest).await {
        Ok(Ok(true)) => Ok((line, Some(turn))),
        Ok(Ok(false)) if line.len() as u64 == LONGEST_LINE_BYTES => {
            let why = format!(
                "a request is longer than {LONGEST_LINE_BYTES} bytes: arguments and variables of \
                 the services must be shorter"
            );
            Err(Unread::Refused(why))
        }
        Ok(Ok(false)) => Err(Unread::Gone),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Unread::Refused(format!("a request took longer than {LONG_LINE_TIME:?}"))),
    }
}

/// Reads at most `most` more bytes. Returns whether the line is complete.
async fn extend(
    reader: &mut BufReader<OwnedReadHalf>,
    most: u64,
    line: &mut Vec<u8>,
) -> Result<bool, Unread> {
    reader.take(most).read_until(b'\n', line).await.map_err(|_| Unread::Gone)?;
    Ok(line.last() == Some(&b'\n'))
}
