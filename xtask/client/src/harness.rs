//! Gives end-to-end tests the stack that they run against.
//!
//! The stack is the one that the environment names, as `cargo xtask test-e2e` does; else
//! the first test of a run starts one, all tests of the run share it, and it goes when the
//! runner goes. Tests that only use the stack run at once; one that takes a service away
//! asks for it alone. Nothing here asserts anything about the services.
//!
//! ```no_run
//! # async fn test() -> Result<(), xtask_client::Error> {
//! let stack = xtask_client::harness::stack().await;
//! let address = stack.service("greeter").url().await?;
//! # drop(address);
//! # Ok(())
//! # }
//! ```

mod cargo;
mod error;
mod failed;
mod fresh;
mod once;
mod runner;
mod skipped;

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use cargo::{cargo, workspace_of};
pub use error::{HarnessError, StartError};
pub use failed::{FAILED_TESTS, FailedTest};
pub use fresh::{Fresh, fresh};
pub use skipped::{SKIPPED_TESTS, skipped};

use crate::paths::StackPaths;
use crate::snapshot::{Phase, Snapshot};
use crate::{STACK_VARIABLE, Stack};
use once::Files;
use runner::Runner;

/// The variable that names the process whose end ends the tests too.
pub const OWNER_VARIABLE: &str = "XTASK_TEST_OWNER_PID";

/// The variable with the arguments of `up` that shape every stack of a run (`--with`,
/// `--containers`), with blanks between: those that tests start are alike.
pub const SHAPE_VARIABLE: &str = "XTASK_TEST_SHAPE";

/// How long a stack may take to recover from what the test before did to it.
const RECOVERY_TIME: Duration = Duration::from_secs(60);

/// How often it is looked whether it has recovered.
const RECOVERY_PAUSE: Duration = Duration::from_millis(20);

/// A stack for one test, as long as this value lives.
///
/// One test takes one lease: a second one may wait for the first for ever.
#[derive(Debug)]
pub struct Lease {
    stack: Stack,
    since: SystemTime,
    /// Locked, shared or alone; given back when it closes.
    _turn: File,
}

#[derive(Clone, Copy)]
enum Turn {
    Shared,
    Alone,
}

impl Deref for Lease {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// A test that fails leaves word of it where the logs are, so that they can be read beside
/// each other.
impl Drop for Lease {
    fn drop(&mut self) {
        if std::thread::panicking() {
            failed::note(&self.stack, self.since);
        }
    }
}

/// The stack of this run, together with other tests.
///
/// # Panics
/// When there is none; the panic's text is the tool's.
pub async fn stack() -> Lease {
    take(Turn::Shared).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// The stack of this run, with no other test beside this one: for tests that kill, restart
/// or stop services that others use. It waits until the tests that run have ended.
///
/// # Panics
/// As for [`stack`].
pub async fn exclusive() -> Lease {
    take(Turn::Alone).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

async fn take(turn: Turn) -> Result<Lease, HarnessError> {
    let waited = tokio::task::spawn_blocking(move || {
        let paths = find_or_start()?;
        // In the stack's own folder, so that it is the same file for whoever attaches.
        let file = paths.folder().join("tests.lock");
        let turn = match turn {
            Turn::Shared => once::lock_shared(&file),
            Turn::Alone => once::lock(&file),
        }?;
        Ok::<_, StartError>((paths, turn))
    });
    let (paths, turn) = match waited.await {
        Ok(result) => result?,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    let folder = paths.folder().to_owned();
    let gone = |source| HarnessError::Gone { folder: folder.clone(), source };
    let stack = Stack::connect(paths).await.map_err(gone)?;
    wait_until_ready(&stack).await?;
    Ok(Lease { stack, since: SystemTime::now(), _turn: turn })
}

/// The stack that the environment names, else the one of this runner. Blocks meanwhile.
fn find_or_start() -> Result<StackPaths, StartError> {
    if let Some(folder) = std::env::var_os(STACK_VARIABLE).filter(|folder| !folder.is_empty()) {
        if let Some(owner) = std::env::var(OWNER_VARIABLE).ok().and_then(|pid| pid.parse().ok()) {
            end_with(owner);
        }
        return Ok(StackPaths::at(folder));
    }
    let folder = folder_of_runners()?;
    let runner = Runner::of_this_test();
    if runner.pid != std::process::id() {
        end_with(runner.pid);
    }
    let started = once::once(&Files::of(&folder, runner), &package(), |started, log| {
        once::clean(&folder, |paths| bury(paths) == Burial::Done);
        once::start(runner, started, log)
    })?;
    Ok(started.paths())
}

/// Where runners leave word of their stacks. Not in the workspace's own state: which workspace
/// it is shows only when cargo is asked, and most tests need not ask.
fn folder_of_runners() -> Result<PathBuf, StartError> {
    let name = "test-runners";
    StackPaths::at(name).create_runtime().map_err(StartError::file(Path::new(name)))
}

/// The folder of the package under test; where the binary was called by hand, the present one.
fn package() -> PathBuf {
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) => folder.into(),
        None => std::env::current_dir().unwrap_or_else(|_| ".".into()),
    }
}

/// What became of a stack that nobody needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Burial {
    /// Nothing of it is left.
    Done,
    /// Its supervisor, or who cleans up after that, is still there.
    Early,
    /// It cannot be deleted, or there is a note by which the next command of the tool looks
    /// for its containers.
    Later,
}

/// Deletes what a stack left whose runner is gone. The state is kept that long, so that logs
/// can be read after a run that failed.
fn bury(paths: &StackPaths) -> Burial {
    let lock = match File::open(paths.lock()) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Burial::Done,
        Err(_) => return Burial::Later,
    };
    // Its supervisor holds the lock as long as it lives.
    if lock.try_lock().is_err() {
        return Burial::Early;
    }
    if !paths.engine_record().exists() && std::fs::remove_dir_all(paths.folder()).is_ok() {
        Burial::Done
    } else {
        Burial::Later
    }
}

async fn wait_until_ready(stack: &Stack) -> Result<(), HarnessError> {
    let folder = stack.paths().folder();
    let wait = async {
        loop {
            let seen = stack.status().await;
            let gone = |source| HarnessError::Gone { folder: folder.to_owned(), source };
            let seen = seen.map_err(gone)?;
            for service in seen.services.iter().filter(|service| service.paused) {
                // A test that failed did not come to that. By now it may have ended.
                stack.service(&service.name).resume().await.ok();
            }
            let unready = unready(&seen);
            if unready.is_empty() {
                return Ok(());
            }
            if unready.iter().any(|(phase, _)| matches!(phase, Phase::Failed | Phase::Stopped)) {
                return Err(not_ready(unready));
            }
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
    };
    match tokio::time::timeout(RECOVERY_TIME, wait).await {
        Ok(result) => result,
        Err(_) => {
            let seen = stack.status().await;
            Err(not_ready(seen.map(|snapshot| unready(&snapshot)).unwrap_or_default()))
        }
    }
}

/// The wanted services that are not ready, each in words.
fn unready(snapshot: &Snapshot) -> Vec<(Phase, String)> {
    let wanted = snapshot.services.iter().filter(|service| service.wanted);
    let unready = wanted.filter(|s| !matches!(s.phase, Phase::Ready | Phase::Succeeded));
    unready
        .map(|service| {
            let reason = service.reason.as_deref().unwrap_or("no reason given");
            let words = format!("`{}` is {}: {reason}", service.name, service.phase.as_str());
            (service.phase, words)
        })
        .collect()
}

fn not_ready(unready: Vec<(Phase, String)>) -> HarnessError {
    let words: Vec<_> = unready.into_iter().map(|(_, words)| words).collect();
    HarnessError::Unready { unready: words.join("; ") }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Ends this process when that one has ended: a test that outlives its runner would only
/// wait for a stack that is gone.
#[cfg(target_os = "linux")]
fn end_with(owner: u32) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    static ONCE: std::sync::Once = std::sync::Once::new();
    let Some(owner) = i32::try_from(owner).ok().and_then(Pid::from_raw) else { return };
    ONCE.call_once(|| {
        std::thread::spawn(move || {
            match pidfd_open(owner, PidfdFlags::empty()) {
                Ok(owner) => {
                    let mut watched = [PollFd::new(&owner, PollFlags::IN)];
                    while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
                }
                Err(rustix::io::Errno::SRCH) => {}
                // Nothing is known of it then; tests fail by themselves when it is gone.
                Err(_) => return,
            }
            eprintln!("the program that runs these tests is gone, and their stack with it");
            std::process::exit(1);
        });
    });
}

/// Elsewhere tests fail by themselves when the stack is gone.
#[cfg(not(target_os = "linux"))]
fn end_with(_owner: u32) {}
