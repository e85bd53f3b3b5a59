//! Why an attempt of a probe did not pass, or a probe can never pass.

use std::io;
use std::time::Duration;

use xtask_core::stack::event::PortHolder;
use xtask_core::stack::{Exit, exit_text};
use xtask_core::terms::duration::spell;

use crate::effects::probe::{BACKGROUND_TIME, COMMAND_TIMEOUT};

/// What an attempt saw instead of a pass; [`crate::effects::RunEvents`] renders it into an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("connection refused")]
    Refused,
    #[error("connection reset")]
    Reset,
    #[error("{0}")]
    Call(io::Error),
    #[error("no answer within {}", spell(*.0))]
    Timeout(Duration),
    #[error("failed to resolve `{host}`: {error}")]
    Resolve { host: String, error: io::Error },
    #[error("status {0}{accepting}", accepting = accepting(*.0))]
    Status(u16),
    #[error(
        "port {port} is held by another program: pid {} (`{}`) of user `{}`",
        holder.pid, holder.command, holder.user
    )]
    OtherListener { port: u16, holder: PortHolder },
    /// The system hides the process.
    #[error("port {0} is held by another program")]
    HiddenListener(u16),
    #[error(
        "its process {0} listens in a session or group of its own, and counts once the program has \
         been running for {wait}",
        wait = spell(BACKGROUND_TIME)
    )]
    Background(i32),
    #[error("no exit within {}", spell(COMMAND_TIMEOUT))]
    CommandTimeout,
    #[error("failed to run `{program}`: {error}")]
    Command { program: String, error: io::Error },
    #[error("{}", exit_text(*.0))]
    Exit(Exit),
    #[error("failed to check the port holder: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("failed to parse the pattern `{pattern}`: {error}")]
    Pattern { pattern: String, error: Box<regex_lite::Error> },
    #[error("the probe has no address")]
    NoAddress,
    #[error("the command of the probe is empty")]
    EmptyCommand,
    #[error("this probe works only for services that xtask starts itself")]
    NotStarted,
    #[error(transparent)]
    Start(#[from] crate::effects::error::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            _ => Self::Call(error),
        }
    }
}

/// How to accept a status that a service may answer for good, unlike a 5xx.
fn accepting(status: u16) -> String {
    if status < 500 { format!("; to accept it, set `status = [{status}]`") } else { String::new() }
}
