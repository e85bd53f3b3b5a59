//! Reads and signals the operating system: `/proc`, process groups, sockets, files.
//!
//! These modules report facts and do what they are asked to. Other rooms decide what to do.

pub mod account;
pub(crate) mod argument_size;
pub(crate) mod async_fd;
pub(crate) mod context;
pub(crate) mod elf;
pub mod executable;
pub(crate) mod fresh_folder;
pub(crate) mod group;
pub(crate) mod json_file;
pub(crate) mod limits;
pub(crate) mod listeners;
pub(crate) mod mark;
pub(crate) mod members;
pub(crate) mod memory;
pub(crate) mod pause;
pub(crate) mod pidfd;
pub mod port_holder;
pub mod port_range;
pub(crate) mod proc;
pub(crate) mod release;
mod say;
pub mod socket;
pub mod supervisors;
pub(crate) mod sweep;
pub mod task;
pub(crate) mod tcp;
pub(crate) mod terminal;
pub mod timestamp;
pub(crate) mod traffic;
pub(crate) mod way_out;

pub(crate) use say::say;

/// Waits for a future; forever if there is none. For a branch of `select!` that may be absent.
pub async fn wait_if_some<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
