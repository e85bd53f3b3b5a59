//! Why an image or an operation on a stack's containers failed, and how that is printed.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use xtask_control::chain;

use super::cleanup::STACK_LABEL;
use super::engine::EngineError;
use crate::system::way_out::way_out;

/// Why there is no image of a program.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("failed to {operation} `{}`", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("`{}` is not a program for Linux, and containers run no others", program.display())]
    NotLinux { program: PathBuf },
    /// A library is missing, or the loader failed.
    #[error("`{}` cannot be loaded here: {message}", program.display())]
    Unloadable { program: PathBuf, message: String },
    #[error("failed to pack the files of an image")]
    Pack(#[source] io::Error),
    #[error("failed to write the build folder of an image")]
    Write(#[source] io::Error),
    #[error(
        "the image of `{service}` was built, but its program cannot be loaded in it: {message}"
    )]
    Incomplete { service: String, message: String },
}

impl ImageError {
    pub fn io(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_path_buf(), source }
    }
}

/// One variant for each operation. [`ContainerError::text`] adds the causes and the hint.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
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
    #[error("failed to {operation} `{}`", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("`{variable}` contains a line break, and the engine takes it from a file of lines")]
    LineBreak { variable: String },
    /// The record names another engine than the one that is found now.
    #[error("they belong to the engine `{}`", engine.display())]
    OtherEngine { engine: PathBuf },
    #[error("a stop cancelled the start")]
    Cancelled,
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
    pub fn io(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_path_buf(), source }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::CreateNetwork { engine, source: EngineError::NoAddresses { .. }, .. } => {
                Some(format!("`{} network prune` removes networks without use", engine.display()))
            }
            Self::CreateNetwork {
                network,
                engine,
                source: EngineError::Failed { message, .. },
            } if message.contains("already exists") => {
                Some(format!("`{} network rm {network}`", engine.display()))
            }
            Self::OtherEngine { engine } => {
                Some(format!("`XTASK_ENGINE={} %xtask% status` removes them", engine.display()))
            }
            Self::ReadRecord { .. } => Some(format!(
                "delete it once `ps --all --filter label={STACK_LABEL}` of your container engine \
                 lists nothing of this stack"
            )),
            Self::List(_) => Some("start the engine; any `%xtask%` command tries again".to_owned()),
            Self::Remove { command, .. } | Self::NotRemoved { command } => {
                Some(format!("`{command}` removes what is left"))
            }
            Self::Pull { image, .. } => Some(format!(
                "check the name and the tag: the engine's own command `pull {image}` must work"
            )),
            other => {
                let causes =
                    std::iter::successors(Some(other as &dyn Error), |&cause| cause.source());
                causes.filter_map(|cause| cause.downcast_ref()).find_map(way_out)
            }
        }
    }

    /// The error with its causes, and the hint on a line of its own.
    pub fn text(&self) -> String {
        self.joined("\nhint: ")
    }

    /// The same on one line.
    pub fn line(&self) -> String {
        self.joined("; ")
    }

    fn joined(&self, before_hint: &str) -> String {
        let hint = self.hint().map(|hint| format!("{before_hint}{hint}"));
        chain(self) + &hint.unwrap_or_default()
    }
}
