//! StackContainers: the engine that runs them, and images made of built programs.
//!
//! The engine is Docker or Podman through its command line, so that whatever the user
//! has set up for it (contexts, a remote host, no root) holds here too. Only
//! somebody else's image is pulled: one of ours is a program with what it needs to run, and is
//! fed to the engine.

pub(crate) mod cleanup;
mod create;
pub(crate) mod engine;
mod forwarder;
pub(crate) mod image;
pub(crate) mod launch;
mod linked;
mod root_fs;
pub(crate) mod run;
mod running;
mod socket_proxy;
pub(crate) mod stack;
mod start;
mod volumes;

pub(crate) use root_fs::{DATA_FOLDER, PROGRAM_FOLDER, USER};
