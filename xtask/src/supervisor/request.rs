//! Requests as they come off the control socket: lines of bounded length.
//!
//! Whoever sends without end or slowly costs a bounded amount of memory, and nobody else
//! waits. What a line says is not looked at.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A line that is longer than this takes its turn: most calls are a hundred bytes.
const SHORT_LINE_BYTES: u64 = 64 * 1024;

/// The longest line taken: a plan of a thousand services fits.
const LONGEST_LINE_BYTES: u64 = 4 * 1024 * 1024;

/// How many long lines are in memory at once.
pub(super) const MOST_LONG_LINES: usize = 8;

/// How long a long line may take to arrive once it has its turn.
const LONG_LINE_TIME: Duration = Duration::from_secs(5);

/// Why there is no line.
pub(super) enum Unread {
    /// The client is.
    Gone,
    /// It is not taken, for this reason.
    Refused(String),
}

/// The next line, and the turn of a long one.
///
/// # Errors
/// When there is none, or it is not taken.
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
            let why = format!("a request is longer than {LONGEST_LINE_BYTES} bytes");
            Err(Unread::Refused(why))
        }
        Ok(Ok(false)) => Err(Unread::Gone),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Unread::Refused(format!("a request took longer than {LONG_LINE_TIME:?}"))),
    }
}

/// Reads at most so many bytes more; whether the line has come to its end.
async fn extend(
    reader: &mut BufReader<OwnedReadHalf>,
    most: u64,
    line: &mut Vec<u8>,
) -> Result<bool, Unread> {
    reader.take(most).read_until(b'\n', line).await.map_err(|_| Unread::Gone)?;
    Ok(line.last() == Some(&b'\n'))
}
