//! Why the tool cannot be installed or removed, and what helps.

use std::io;
use std::path::{Path, PathBuf};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `operation` is a verb, such as `read`.
    #[error("failed to {operation} `{}`", path.display())]
    File {
        /// What failed, a verb.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A program could not be started, or failed with this text.
    #[error("`{command}` failed: {message}")]
    Program {
        /// The command line.
        command: String,
        /// What it printed, or why it did not start.
        message: String,
    },
    /// A file is not what its format asks for.
    #[error("failed to read `{}`: {message}", path.display())]
    Format {
        /// The file with the mistake.
        path: PathBuf,
        /// The parser's message.
        message: String,
    },
    /// The workspace has something that the installation would replace.
    #[error("the workspace has {what} of its own")]
    Taken {
        /// The thing, with an article.
        what: String,
    },
    /// The workspace excludes the folder of the launcher.
    #[error("the workspace excludes the folder `xtask`")]
    Excluded,
    /// The toolchain of the workspace is older than the tool needs.
    #[error("the tool needs Rust {needed}, and the toolchain of `{}` is {found}", root.display())]
    Toolchain {
        /// The lowest version.
        needed: String,
        /// The version of the workspace's toolchain.
        found: String,
        /// The root of the workspace.
        root: PathBuf,
    },
    /// Cargo builds for another machine, so the alias cannot run what it builds.
    #[error("cargo builds for `{target}` here, and this machine is `{host}`")]
    OtherTarget {
        /// The target in the settings.
        target: String,
        /// This machine.
        host: String,
    },
    /// Installed files were edited.
    #[error("edited since they were installed: {}", listed(files))]
    Edited {
        /// Paths from the root of the workspace.
        files: Vec<String>,
    },
    /// The tool is not installed in this workspace.
    #[error("the tool is not installed in `{}`", root.display())]
    NotInstalled {
        /// The root of the workspace.
        root: PathBuf,
    },
    /// Cargo cannot read the workspace with the tool in it. Nothing is left.
    #[error("cargo refuses the workspace with the tool in it: {message}")]
    Refused {
        /// Cargo's message.
        message: String,
    },
}

fn listed(files: &[String]) -> String {
    let shown: Vec<String> = files.iter().take(5).map(|file| format!("`{file}`")).collect();
    match files.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Error {
    /// For `map_err`: an operation on a path failed.
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { operation, path: path.to_owned(), source }
    }

    /// One command or edit that helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        const INSTALLED: &str =
            "use the installed command, which changes nothing: `cargo services up`";
        match self {
            Self::Taken { .. }
            | Self::Excluded
            | Self::Toolchain { .. }
            | Self::OtherTarget { .. }
            | Self::Refused { .. } => Some(INSTALLED.to_owned()),
            Self::Edited { .. } => {
                Some("undo the edits, or repeat the command with `--discard-edits`".to_owned())
            }
            Self::NotInstalled { .. } => Some("`%xtask% install` installs it".to_owned()),
            Self::Program { command, .. } if command.starts_with("cargo metadata") => {
                Some("run it in a workspace that cargo can read, or name its folder".to_owned())
            }
            Self::File { .. } | Self::Program { .. } | Self::Format { .. } => None,
        }
    }
}
