//! The client side of a stack: finds its supervisor or starts one, follows its logs, records which
//! workspace it belongs to, and names the stacks of test runs.
//!
//! It prints nothing. A command decides what a user reads.

pub mod connect;
mod error;
pub(crate) mod find;
pub(crate) mod follow;
pub mod isolated;
pub mod launch;
pub mod workspaces;

use std::path::PathBuf;

pub use error::Error;

/// The executable of this tool.
pub(crate) fn own_program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(Error::system("find the tool's own executable"))
}
