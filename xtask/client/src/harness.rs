//! Provides end-to-end tests with a stack.
//!
//! `cargo xtask test-e2e` names the stack in the environment. Otherwise the first test of a run
//! starts one; all tests of the run share it, and it stops when the runner exits. Tests run in
//! parallel. A test that stops or kills a service takes the stack exclusively. With `test-e2e
//! --kill-random` services are killed during the other tests, except those that call [`calm`].
//! Nothing here asserts anything about the services.
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
mod locks;
mod runner;
mod shared;
mod skipped;

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

pub use cargo::workspace_of;
pub use failed::{FAILED_TESTS, FailedTest};
pub use fresh::{Fresh, fresh};
pub use locks::{FaultPermit, fault_permit};
pub use skipped::{SKIPPED_TESTS, skipped};
pub use xtask_control::cargo;

use crate::snapshot::{Phase, ServiceSnapshot};
use crate::{STACK_VARIABLE, Stack};
use error::{HarnessError, StartError};
use locks::{Access, Locks};
use runner::Runner;
use shared::Files;
use xtask_control::chain;
use xtask_control::paths::StackPaths;

/// The variable with the pid of the owner: when the owner exits, the tests exit too.
pub const OWNER_VARIABLE: &str = "XTASK_TEST_OWNER_PID";

/// The variable with the arguments of `up` for every stack of a run, such as `--with` and
/// `--containers`, separated by spaces.
pub const SHAPE_VARIABLE: &str = "XTASK_TEST_SHAPE";

/// The timeout for a stack to recover from the previous test.
const RECOVERY_TIME: Duration = Duration::from_secs(60);

/// The time between two checks of the recovery.
const RECOVERY_POLL: Duration = Duration::from_millis(20);

/// A stack for one test, until this value is dropped.
///
/// A test takes at most one lease: a second one may deadlock with the first.
#[derive(Debug)]
pub struct Lease {
    stack: Stack,
    since: SystemTime,
    _locks: Locks,
}

impl Deref for Lease {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// Records a failed test next to the logs.
impl Drop for Lease {
    fn drop(&mut self) {
        if std::thread::panicking() {
            failed::record(self.paths().folder(), self.since);
        }
    }
}

/// The stack of this run, shared with other tests. `test-e2e --kill-random` may kill its services
/// at any time, so the test retries requests.
///
/// # Panics
/// When the stack cannot be started; the message contains the tool's output.
pub async fn stack() -> Lease {
    lease(Access::Shared).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Like [`stack`], with other tests but without random kills: for tests with requests that they
/// cannot repeat, such as a POST. It waits until a kill is over.
pub async fn calm() -> Lease {
    lease(Access::Calm).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Like [`stack`], without other tests and random kills: for tests that kill, restart or stop
/// services. It waits until the running tests have ended.
pub async fn exclusive() -> Lease {
    lease(Access::Exclusive).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

async fn lease(access: Access) -> Result<Lease, HarnessError> {
    let (paths, locks) = blocking(move || {
        let paths = find_or_start()?;
        // In the stack's folder, so that the files are the same for every runner.
        let locks = locks::lock_for_test(paths.folder(), access)?;
        Ok((paths, locks))
    })
    .await?;
    let stack = connect(paths).await?;
    wait_until_ready(&stack).await?;
    Ok(Lease { stack, since: SystemTime::now(), _locks: locks })
}

async fn blocking<T: Send + 'static>(
    start: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let started = tokio::task::spawn_blocking(start).await;
    started.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

async fn connect(paths: StackPaths) -> Result<Stack, HarnessError> {
    let folder = paths.folder().to_owned();
    Stack::connect(paths).await.map_err(|source| HarnessError::Gone { folder, source })
}

/// The stack in the environment, else the one of this runner. Blocks while it starts.
fn find_or_start() -> Result<StackPaths, StartError> {
    if let Some(folder) = std::env::var_os(STACK_VARIABLE).filter(|folder| !folder.is_empty()) {
        if let Some(owner) = std::env::var(OWNER_VARIABLE).ok().and_then(|pid| pid.parse().ok()) {
            exit_with(owner);
        }
        return Ok(StackPaths::at(folder));
    }
    let folder = runners_folder()?;
    let runner = Runner::of_this_test();
    if runner.pid != std::process::id() {
        exit_with(runner.pid);
    }
    let started = shared::start_once(&Files::of(&folder, runner), &package(), |started, log| {
        shared::clean(&folder, |paths| remove_stack(paths) == Removal::Done);
        shared::start(runner, started, log)
    })?;
    Ok(started.paths())
}

/// The folder in which runners record their stacks. It is independent of the workspace, because
/// finding the workspace needs a call of cargo, which most tests can avoid.
fn runners_folder() -> Result<PathBuf, StartError> {
    let name = "test-runners";
    StackPaths::at(name).create_runtime().map_err(StartError::file(Path::new(name)))
}

/// The folder of the package under test; the current folder if cargo did not start this binary.
fn package() -> PathBuf {
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) => folder.into(),
        None => std::env::current_dir().unwrap_or_else(|_| ".".into()),
    }
}

/// The result of removing the files of a stopped stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removal {
    /// No file is left.
    Done,
    /// Its supervisor, guardian or sweeper still runs.
    Running,
    /// The files cannot be deleted, or the next command of the tool needs them to find containers.
    Kept,
}

/// Deletes the files of a stack whose runner has exited. Until then they are kept, so that a user
/// can read the logs of a failed run.
fn remove_stack(paths: &StackPaths) -> Removal {
    let lock = match File::open(paths.lock()) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Removal::Done,
        Err(_) => return Removal::Kept,
    };
    // Supervisor, guardian and sweeper hold the lock.
    if lock.try_lock().is_err() {
        return Removal::Running;
    }
    if !paths.engine_record().exists() && std::fs::remove_dir_all(paths.folder()).is_ok() {
        Removal::Done
    } else {
        Removal::Kept
    }
}

async fn wait_until_ready(stack: &Stack) -> Result<(), HarnessError> {
    let folder = stack.paths().folder();
    let deadline = Instant::now() + RECOVERY_TIME;
    loop {
        let gone = |source| HarnessError::Gone { folder: folder.to_owned(), source };
        let snapshot = stack.status().await.map_err(gone)?;
        for service in snapshot.services.iter().filter(|service| service.paused) {
            // A failed test left it paused. Ignores the error of a run that has ended since.
            stack.service(&service.name).resume().await.ok();
        }
        let wanted = snapshot.services.iter().filter(|service| service.wanted);
        let unready = wanted.filter(|s| !matches!(s.phase, Phase::Ready | Phase::Succeeded));
        let unready: Vec<_> = unready.collect();
        if unready.is_empty() {
            return Ok(());
        }
        let has_ended = unready.iter().any(|service| !service.phase.is_on_the_way());
        if has_ended || Instant::now() >= deadline {
            return Err(not_ready(&unready));
        }
        tokio::time::sleep(RECOVERY_POLL).await;
    }
}

fn not_ready(unready: &[&ServiceSnapshot]) -> HarnessError {
    let texts = unready.iter().map(|service| {
        let reason = service.reason.as_deref().unwrap_or("no reason given");
        format!("`{}` is {}: {reason}", service.name, service.phase.as_str())
    });
    HarnessError::Unready(texts.collect::<Vec<_>>().join("; "))
}

/// Exits this process when the process `owner` exits: the stack stops with the runner.
#[cfg(target_os = "linux")]
fn exit_with(owner: u32) {
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
                // Unsupported: the tests fail by themselves without a stack.
                Err(_) => return,
            }
            eprintln!("the runner of these tests has exited, and so has their stack");
            std::process::exit(1);
        });
    });
}

/// On other systems tests fail by themselves without a stack.
#[cfg(not(target_os = "linux"))]
fn exit_with(_owner: u32) {}
