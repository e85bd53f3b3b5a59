//! Descriptors that the runtime watches for something to read.
//!
//! One function, so that the promise that the runtime asks for is given in one place.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Types whose descriptor is their own, and the same until they are dropped.
pub(crate) trait Owned: std::os::fd::AsRawFd {}

impl Owned for OwnedFd {}
impl Owned for TcpListener {}
impl Owned for UnixDatagram {}

/// Watches `inner` for something to read.
///
/// # Errors
/// When the system cannot watch it.
pub(crate) fn async_fd<T: Owned>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the types of `Owned` hold one open descriptor from here to their drop,
    // and the `AsyncFd` that owns them hands out shared references only.
    Ok(unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }?)
}
