//! Why a test has no stack, in words that stand alone in the test's panic.
//!
//! Nothing is tried again here, and nothing is printed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::Error;

/// Why a test has no stack.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It runs no longer, or does not answer.
    #[error("the stack in `{}` is gone", folder.display())]
    Gone {
        /// The folder of the stack.
        folder: PathBuf,
        /// What was seen.
        source: Error,
    },
    /// A test before left it broken, or a service of it failed.
    #[error("the stack does not get ready: {unready}")]
    Unready {
        /// The services that are not ready, each with its phase and why.
        unready: String,
    },
}

/// Why there is no stack to test.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file of the harness cannot be used.
    #[error("using `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Cargo cannot be run, or does not know the workspace.
    #[error("running `{command}`: {message}")]
    Cargo {
        /// The command.
        command: String,
        /// What was seen.
        message: String,
    },
    /// The tool ended without a stack.
    #[error(
        "the stack could not be started: `{command}` in `{}` ended with {status}\n\n{words}",
        workspace.display()
    )]
    Tool {
        /// The command.
        command: String,
        /// Where it ran.
        workspace: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        words: String,
    },
    /// Another test tried before.
    #[error(
        "the stack could not be started: the reason stands in the first test that failed, \
         and in `{}`",
        log.display()
    )]
    FailedBefore {
        /// What the tool printed.
        log: PathBuf,
    },
}

impl StartError {
    /// What the system said of a file or folder of the harness.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }
}
