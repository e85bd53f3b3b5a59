//! Registers descriptors with the runtime, which then reports when they are readable. Registration
//! is unsafe, and this is its only place.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Types that own one descriptor until they are dropped.
pub(crate) trait Owned: std::os::fd::AsRawFd {}

impl Owned for OwnedFd {}
impl Owned for TcpListener {}
impl Owned for UnixDatagram {}

/// Registers `inner` for reading.
///
/// # Errors
/// When the system cannot watch it.
pub(crate) fn async_fd<T: Owned>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the types of `Owned` keep one open descriptor until their drop, and the `AsyncFd`
    // that owns them gives out shared references only.
    Ok(unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }?)
}
