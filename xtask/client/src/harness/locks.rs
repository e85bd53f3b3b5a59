//! Which tests and faults may use a stack at the same time, as locks on files in its folder.
//!
//! A test locks `tests.lock`, shared or exclusively. A test that does not bear faults also locks
//! `faults.lock`, shared. `test-e2e --kill-random` locks `faults.lock` exclusively for each kill.
//! Both lock `faults-turn.lock` first, so a waiting kill delays new tests and gets its turn.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::error::StartError;
use super::shared::{lock, open};

const TESTS: &str = "tests.lock";
const FAULTS: &str = "faults.lock";
const TURN: &str = "faults-turn.lock";

/// The time between two attempts of [`fault_permit`].
const POLL: Duration = Duration::from_millis(5);

/// What else may happen to the stack during a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Other tests and random faults.
    Shared,
    /// Other tests.
    Calm,
    /// No other test and no fault.
    Exclusive,
}

/// Locked files; closing them releases the locks.
pub(super) type Locks = Vec<File>;

/// The permission to cause a fault, until this value is dropped.
#[derive(Debug)]
pub struct FaultPermit {
    _locks: [File; 2],
}

/// Waits for the locks of a test on the stack in `folder`.
pub(super) fn lock_for_test(folder: &Path, access: Access) -> Result<Locks, StartError> {
    let tests = folder.join(TESTS);
    let mut locks = vec![match access {
        Access::Shared | Access::Calm => lock(&tests, File::lock_shared),
        Access::Exclusive => lock(&tests, File::lock),
    }?];
    if access != Access::Shared {
        let _turn = lock(&folder.join(TURN), File::lock)?;
        locks.push(lock(&folder.join(FAULTS), File::lock_shared)?);
    }
    Ok(locks)
}

/// Waits until no test on the stack in `folder` excludes faults. Later tests that exclude faults
/// wait until the permit is dropped.
///
/// # Errors
/// When the files cannot be locked.
pub async fn fault_permit(folder: &Path) -> io::Result<FaultPermit> {
    // In this order, as a test does.
    Ok(FaultPermit {
        _locks: [poll_lock(&folder.join(TURN)).await?, poll_lock(&folder.join(FAULTS)).await?],
    })
}

/// An exclusive lock, without a thread that cannot be cancelled.
async fn poll_lock(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(POLL).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// The permit, if it is there within a short time.
    async fn permit_soon(folder: &Path) -> Option<FaultPermit> {
        tokio::time::timeout(Duration::from_millis(50), fault_permit(folder)).await.ok()?.ok()
    }

    #[tokio::test]
    async fn fault_waits_for_calm_and_exclusive_tests_only() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for (access, is_permitted) in
            [(Access::Shared, true), (Access::Calm, false), (Access::Exclusive, false)]
        {
            let test = lock_for_test(folder, access).unwrap();
            assert_eq!(permit_soon(folder).await.is_some(), is_permitted, "{access:?}");
            drop(test);
            assert!(permit_soon(folder).await.is_some(), "after {access:?}");
        }
    }

    #[tokio::test]
    async fn fault_delays_calm_tests_but_not_others() {
        let folder = tempfile::tempdir().unwrap();
        let permit = fault_permit(folder.path()).await.unwrap();
        drop(lock_for_test(folder.path(), Access::Shared).unwrap());
        let path = folder.path().to_owned();
        let calm = tokio::task::spawn_blocking(move || lock_for_test(&path, Access::Calm));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!calm.is_finished());
        drop(permit);
        calm.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn fault_gets_its_turn_among_overlapping_calm_tests() {
        let folder = tempfile::tempdir().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let tests: Vec<_> = (0..4)
            .map(|_| {
                let (folder, over) = (folder.path().to_owned(), over.clone());
                std::thread::spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let _test = lock_for_test(&folder, Access::Calm).unwrap();
                        std::thread::sleep(Duration::from_millis(10));
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            let permit = fault_permit(folder.path());
            tokio::time::timeout(Duration::from_secs(30), permit).await.unwrap().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        tests.into_iter().for_each(|test| test.join().unwrap());
    }
}
