//! The stack's lock: it admits one supervisor at a time.
//!
//! The kernel releases it when the last holding process exits. Acquiring it therefore proves that
//! supervisor, guardian and sweeper are all dead.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// A held lock; released when it is dropped or the process exits.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Waits for the lock and acquires it. Blocks the thread.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub(crate) fn wait(path: &Path) -> io::Result<Self> {
        let file =
            File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`Lock::wait`], on a thread of its own. If the caller drops the future, that thread
    /// releases the lock as soon as it has acquired it.
    ///
    /// # Errors
    /// As [`Lock::wait`].
    pub(crate) async fn turn(path: &Path) -> io::Result<Self> {
        if let Some(lock) = Self::try_take(path)? {
            return Ok(lock);
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let path = path.to_path_buf();
        std::thread::Builder::new().spawn(move || drop(sender.send(Self::wait(&path))))?;
        receiver.await.map_err(io::Error::other)?
    }

    /// Returns a second handle on the lock, which stays held until both are closed.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Acquires the lock if it is free.
    ///
    /// # Errors
    /// As [`Lock::wait`].
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file =
            File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
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
    fn lock_is_exclusive_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::wait(&path).unwrap();
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_take(&path).unwrap().is_some());
    }
}
