//! The words that every later stage shares: names, places, and the choices that metadata
//! offers. Each is plain data with one spelling in JSON.
//!
//! No stage owns them, so this folder imports none. What only one stage uses lives there.

pub mod chance;
pub mod duration;
pub mod host;
mod name;
pub mod secret;
pub mod suggest;
pub mod template;
pub mod words;

use alloc::string::String;

use serde::{Deserialize, Serialize};

pub use name::{MARK_VARIABLE, Name, is_variable_name, variable_mistake, variable_prefix};

/// The place of the tool's name in a message: `` `%xtask% up` ``. Only the program that shows the
/// message knows what its user typed.
pub const TOOL: &str = "%xtask%";

/// Service or job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A long-running program.
    Service,
    /// Runs to completion, and succeeds with exit code 0.
    Job,
}

/// A place for messages: file and line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// Relative to the workspace root where it lies below it.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Where a service runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// On this machine, like any other program.
    #[default]
    Process,
    /// In a container of its own.
    Container,
}

/// What a dependent waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// All probes passed.
    Ready,
    /// The process runs.
    Started,
    /// The job ended with exit code 0.
    Succeeded,
}

/// When a service that ended by itself is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It stays ended.
    No,
    /// When it did not end with exit code 0.
    OnFailure,
    /// Whenever it ended.
    Always,
}

/// Which running process may replace a run of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopt {
    /// A process of the same executable.
    SameBinary,
    /// Any process that passes the probes.
    Any,
    /// No process.
    Never,
}
