//! Why an operation on a stack's containers failed, and how that is printed.

use std::io;
use std::path::PathBuf;

use xtask_client::chain;

use super::cleanup::STACK_LABEL;
use super::engine::EngineError;
use super::image::ImageError;

/// One variant for each operation. [`ContainerError::text`] adds the causes and the hint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("failed to prepare the start of `{service}`")]
    Prepare { service: String, source: io::Error },
    #[error("`{service}` inherits sockets that are not bound")]
    NotBound { service: String },
    #[error("failed to pull image `{image}`")]
    Pull { image: String, source: EngineError },
    #[error("failed to create network `{network}`")]
    CreateNetwork { network: String, engine: PathBuf, source: EngineError },
    #[error("network `{network}` has no gateway")]
    NoGateway { network: String },
    #[error("failed to forward to `{service}` port {port}")]
    Forward { service: String, port: u16, source: io::Error },
    /// The engine runs without root, and its networks are in a namespace of their own.
    #[error(
        "`{service}` is a process, and containers of an engine without root cannot reach \
         processes: run it in a container too"
    )]
    Unreachable { service: String },
    #[error("failed to create `{}`", path.display())]
    CreateFolder { path: PathBuf, source: io::Error },
    #[error("failed to give `{}` to the user of containers", path.display())]
    ChangeOwner { path: PathBuf, source: io::Error },
    #[error("failed to open `{}` to the user of containers", path.display())]
    ShareSocket { path: PathBuf, source: io::Error },
    #[error("failed to start `{}`", engine.display())]
    Attach { engine: PathBuf, source: io::Error },
    #[error("a stop cancelled the start")]
    Cancelled,
    #[error("failed to write `{}`", path.display())]
    WriteRecord { path: PathBuf, source: io::Error },
    #[error("failed to read `{}`", path.display())]
    ReadRecord { path: PathBuf, source: io::Error },
    /// The names of what to remove are unknown without a list.
    #[error(transparent)]
    List(EngineError),
    #[error("removal failed")]
    Remove { source: EngineError, command: String },
    #[error("the engine did not remove its containers")]
    NotRemoved { command: String },
}

impl ContainerError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::CreateNetwork { network, engine, .. } => {
                Some(format!("`{} network rm {network}`", engine.display()))
            }
            Self::ReadRecord { .. } => Some(format!(
                "delete it once `ps --all --filter label={STACK_LABEL}` of your container engine \
                 lists nothing of this stack"
            )),
            Self::List(_) => {
                Some("start the engine; any `cargo xtask` command tries again".to_owned())
            }
            Self::Remove { command, .. } | Self::NotRemoved { command } => {
                Some(format!("`{command}` removes what is left"))
            }
            _ => None,
        }
    }

    /// The error with its causes, and the hint on a line of its own.
    pub(crate) fn text(&self) -> String {
        let hint = self.hint().map(|hint| format!("\nhint: {hint}"));
        chain(self) + &hint.unwrap_or_default()
    }

    /// The same on one line.
    pub(crate) fn line(&self) -> String {
        let hint = self.hint().map(|hint| format!("; {hint}"));
        chain(self) + &hint.unwrap_or_default()
    }
}
