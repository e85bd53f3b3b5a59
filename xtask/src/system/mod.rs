//! Reads and signals the operating system: `/proc`, process groups, sockets, files.
//!
//! Nothing here knows what a service is; the rooms above decide what to do with the answers.

pub(crate) mod async_fd;
pub(crate) mod connections;
pub(crate) mod group;
pub(crate) mod json_file;
pub(crate) mod limits;
pub(crate) mod listeners;
pub(crate) mod pidfd;
pub(crate) mod port_holder;
pub(crate) mod port_range;
mod say;
pub(crate) mod socket;
pub(crate) mod sweep;
pub(crate) mod tcp;
pub(crate) mod traffic;

pub(crate) use say::say;
