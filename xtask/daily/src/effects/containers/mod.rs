//! Containers: the engine that runs them, and images of built programs.
//!
//! The engine is Docker or Podman through its command line, so that the user's settings
//! (contexts, a remote host, no root) apply here too. Only images that are not built here
//! are pulled.

mod blocking;
pub(crate) mod cleanup;
mod create;
pub mod engine;
mod error;
mod forwarder;
pub mod image;
pub(crate) mod launch;
mod linked;
mod root_fs;
pub(crate) mod run;
mod socket_proxy;
pub(crate) mod stack;
mod start;
mod subnet;
mod volumes;

pub use error::ContainerError;
pub use root_fs::{DATA_FOLDER, PROGRAM_FOLDER, USER};
