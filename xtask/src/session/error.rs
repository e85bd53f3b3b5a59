//! Why a command cannot use a stack: one variant for each operation that fails.

use std::io;
use std::path::PathBuf;

use xtask_client::connection;

/// A failure between a command and a stack.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to create `{}`", path.display())]
    CreateFolder { path: PathBuf, source: io::Error },
    #[error("failed to lock `{}`", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("failed to write `{}`", path.display())]
    OpenLog { path: PathBuf, source: io::Error },
    #[error("failed to find the tool's own executable")]
    OwnProgram(#[source] io::Error),
    #[error("failed to create the control connection")]
    ControlConnection(#[source] io::Error),
    #[error("failed to start `{}`", program.display())]
    StartSupervisor { program: PathBuf, source: io::Error },
    /// `output` is what the supervisor wrote to its log before it exited.
    #[error("the supervisor exited during its start{output}")]
    SupervisorExited { output: String },
    #[error("failed to watch the supervisor's processes")]
    WatchProcesses(#[source] io::Error),
    #[error("the state of the stack has no place")]
    NoStateFolder(#[source] io::Error),
    #[error(transparent)]
    Connection(#[from] connection::Error),
}
