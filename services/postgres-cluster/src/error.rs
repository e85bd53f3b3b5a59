//! Why a cluster cannot be created or served.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::account::AccountError;
use crate::programs::ProgramsError;

/// Why a cluster cannot be created or served.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The programs are missing.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// The caller is root, and there is no other account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// An invalid name of a database.
    #[error("`{0}` cannot be the name of a database, expected letters, digits, `-` and `_`")]
    Name(String),
    /// An operation on the folder or a file in it failed.
    #[error("failed to {operation} `{}`", path.display())]
    File {
        /// The operation, a verb such as `write`.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is no cluster in the folder.
    #[error("there is no cluster in `{}`\nhint: create it: `postgres-cluster make FOLDER`", .0.display())]
    Missing(PathBuf),
    /// A program cannot be started.
    #[error("failed to start `{}`", program.display())]
    Start {
        /// The path of the program.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{program}` failed with {status}: {stderr}")]
    Failed {
        /// The name of the program.
        program: &'static str,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines of its standard error.
        stderr: String,
    },
}
