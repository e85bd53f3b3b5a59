//! Watches whether descriptors are readable, or lost their reader. Registration with the runtime
//! is unsafe, and this is its only place.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Types that own one descriptor until they are dropped.
pub(crate) trait Owned: std::os::fd::AsRawFd {}

impl Owned for OwnedFd {}
impl Owned for TcpListener {}
impl Owned for UnixDatagram {}

/// Registers `inner` for reading.
pub(crate) fn async_fd<T: Owned>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the types of `Owned` keep one open descriptor until their drop, and the `AsyncFd`
    // that owns them gives out shared references only.
    Ok(unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }?)
}

/// Waits until the reader of a pipe has gone, which no write reports while there is nothing to
/// write.
///
/// # Errors
/// The descriptor is a file, which has no reader.
pub(crate) async fn reader_gone(pipe: OwnedFd) -> io::Result<()> {
    // SAFETY: as in `async_fd`.
    let pipe = unsafe { AsyncFd::register_with_interest(pipe, Interest::ERROR) }?;
    pipe.ready(Interest::ERROR).await.map(drop)
}

/// Whether a descriptor is readable at this moment. A listening socket is if a caller waits.
pub(crate) fn is_readable(fd: impl AsFd) -> io::Result<bool> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&at_once))? > 0)
}
