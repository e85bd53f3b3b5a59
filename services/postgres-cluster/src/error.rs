//! Why a cluster cannot be created or served.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::account::AccountError;
use crate::programs::ProgramsError;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("`{0}` cannot be the name of a database, expected letters, digits, `-` and `_`")]
    Name(String),
    /// The operation is a verb such as `write`; the path is the folder or a file in it.
    #[error("failed to {operation} `{}`", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("there is no cluster in `{}`\nhint: create it: `postgres-cluster make FOLDER`", .0.display())]
    Missing(PathBuf),
    #[error("failed to start `{program}`")]
    Start { program: &'static str, source: io::Error },
    /// A program failed; the text is the last lines of its standard error.
    #[error("`{program}` failed with {status}: {stderr}")]
    Failed { program: &'static str, status: ExitStatus, stderr: String },
}

impl ClusterError {
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { operation, path: path.to_owned(), source }
    }
}
