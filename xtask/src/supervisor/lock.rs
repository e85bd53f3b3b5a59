//! The lock that makes a supervisor the only one of its stack.
//!
//! The lock goes with its processes, however they end, so that a lock that is held
//! means a supervisor that lives, or a guardian that still cleans up behind it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// A held lock; released when it is dropped or its process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock, and takes it.
    ///
    /// # Errors
    /// What the system says of the file.
    pub(crate) fn wait(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`Lock::wait`], without keeping this thread from anything else meanwhile. A wait
    /// that is given up goes on beside, and lets go of what it gets.
    ///
    /// # Errors
    /// What the system says of the file.
    pub(crate) async fn turn(path: &Path) -> io::Result<Self> {
        if let Some(lock) = Self::try_take(path)? {
            return Ok(lock);
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let path = path.to_path_buf();
        std::thread::Builder::new().spawn(move || drop(sender.send(Self::wait(&path))))?;
        receiver.await.map_err(io::Error::other)?
    }

    /// Another handle on the same lock, which is held until both are gone.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Takes the lock if nobody else holds it.
    ///
    /// # Errors
    /// What the system says of the file.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_free_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::wait(&path).unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_take(&path).unwrap().is_some());
    }
}
