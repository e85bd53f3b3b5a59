//! Why a test has no stack. Each text is complete, because it is the message of the test's panic.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use xtask_control::Error;

/// Why a test has no ready stack.
#[derive(Debug, thiserror::Error)]
pub(super) enum HarnessError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the stack in `{}` does not answer", folder.display())]
    Gone { folder: PathBuf, source: Error },
    /// An earlier test broke the stack, or a service failed: the services that are not ready, each
    /// with its phase and the reason.
    #[error("the stack did not become ready: {0}")]
    Unready(String),
}

/// Why a stack cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to use `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
    /// This command line of cargo failed, with the system's error or cargo's standard error.
    #[error("failed to run `{0}`: {1}")]
    Cargo(String, String),
    /// The output is the last lines of the tool's.
    #[error(
        "failed to start the stack: `{command}` in `{}` ended with {status}\n\n{output}",
        workspace.display()
    )]
    Tool { command: String, workspace: PathBuf, status: ExitStatus, output: String },
    /// The start failed for an earlier test; the file has the output of the tool.
    #[error(
        "failed to start the stack: the reason is in the output of the first failed test, and in `{}`",
        .0.display()
    )]
    FailedBefore(PathBuf),
}

impl StartError {
    /// The error for a file or folder of the harness.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }
}
