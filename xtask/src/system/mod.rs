//! Reads and signals the operating system: `/proc`, process groups, sockets, files.
//!
//! Nothing here knows what a service is; the rooms above decide what to do with the answers.

pub(crate) mod connections;
pub(crate) mod group;
pub(crate) mod json_file;
pub(crate) mod limits;
pub(crate) mod listeners;
pub(crate) mod numbers;
pub(crate) mod port_holder;
pub(crate) mod process;
mod say;
pub(crate) mod socket;
pub(crate) mod sweep;
pub(crate) mod tcp;
pub(crate) mod traffic;
pub(crate) mod watched;

pub(crate) use say::say;
