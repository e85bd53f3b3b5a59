//! Puts the tool into another workspace, for everyone who clones it, and takes it out again.
//!
//! The tool becomes a workspace of its own in `xtask/tool`, with its own lock file, which the host
//! excludes. The host gets one member without dependencies, `xtask`: the launcher, which builds and
//! executes the tool. So nothing that the host builds, locks or lints changes.
//!
//! Three files of the host are edited: its root manifest, `.cargo/config.toml` and `Cargo.lock`.
//! `xtask/installed.json` records what they were, and a hash of every installed file.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod error;
mod host;
mod install;
mod lock;
mod manifest;
mod record;
pub mod sources;
mod text;
mod uninstall;

pub use error::Error;
pub use host::Host;
pub use install::{Installed, install};
pub use uninstall::uninstall;

/// The folder of the launcher in the host, and the name of its package and of the alias.
pub const MEMBER: &str = "xtask";

/// The folder of the tool's workspace in the host.
pub const TOOL: &str = "xtask/tool";
