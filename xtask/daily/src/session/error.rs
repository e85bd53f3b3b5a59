//! Why a command cannot use a stack.

use std::io;
use std::path::{Path, PathBuf};

use xtask_control::connection;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `operation` is a verb, such as `lock`.
    #[error("failed to {operation} `{}`", path.display())]
    Path { operation: &'static str, path: PathBuf, source: io::Error },
    /// `operation` is a verb and its object.
    #[error("failed to {operation}")]
    System { operation: &'static str, source: io::Error },
    /// `output` is what the supervisor wrote to its log before it exited.
    #[error("the supervisor exited during its start{output}")]
    SupervisorExited { output: String },
    /// `folder` is that of the stack or of its data.
    #[error(
        "stack `{stack}` runs as process {pid}, but its folder `{}` was deleted, with data or logs",
        folder.display()
    )]
    Deleted { stack: String, pid: u32, folder: PathBuf },
    #[error("the state of the stack has no place")]
    NoStateFolder(#[source] io::Error),
    #[error(transparent)]
    Connection(#[from] connection::Error),
}

impl Error {
    /// For `map_err`: an operation on a path failed.
    pub(super) fn path(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Path { operation, path: path.to_path_buf(), source }
    }

    /// For `map_err`: a request to the system failed.
    pub(super) fn system(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { operation, source }
    }
}
