//! A stack of its own for one test, such as a test of the start itself. It is removed after the
//! test.
//!
//! Most tests use the shared stack, because a fresh one costs a start.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::runner::Runner;
use super::shared::{self, Files, Started};
use super::{
    HarnessError, Removal, StartError, blocking, connect, package, remove_stack, runners_folder,
    workspace_of,
};
use crate::Stack;
use xtask_control::connection::Connection;
use xtask_control::paths::StackPaths;
use xtask_control::{Error, chain};

/// The timeout for the stack to stop; after it the stack is left to stop by itself.
const STOP_TIME: Duration = Duration::from_secs(30);

/// A stack that is stopped and deleted when this value is dropped, or when the test's process is
/// killed.
#[derive(Debug)]
pub struct Fresh {
    stack: Stack,
    started: Started,
    /// The file with the stack's record, for the clean-up after a killed process.
    record: PathBuf,
}

impl Deref for Fresh {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// A ready stack with its own data, for this test alone.
///
/// # Panics
/// When it cannot be started; the message contains the tool's output.
pub async fn fresh() -> Fresh {
    connect_new().await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

async fn connect_new() -> Result<Fresh, HarnessError> {
    let (started, record) = blocking(start).await?;
    let stack = connect(started.paths()).await?;
    Ok(Fresh { stack, started, record })
}

fn start() -> Result<(Started, PathBuf), StartError> {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let folder = runners_folder()?;
    // The stack ends with this process, which may exit before the runner does.
    let runner = Runner::this();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let files = Files::of(&folder, runner);
    let workspace = workspace_of(&package())?;
    let started = Started::new(format!("test-{}-{number}", runner.key()), workspace)?;
    let record = files.path(&format!("fresh{number}"));
    shared::write(&record, &started)?;
    let log = log_of(&record);
    shared::start(runner, &started, &log).inspect_err(|_| remove(&started, &record))?;
    Ok((started, record))
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let (started, record) = (self.started.clone(), self.record.clone());
        // A runtime cannot start in the thread of another one.
        let stopping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                let stop = async { timeout(STOP_TIME, stop(&started.paths())).await.ok() };
                runtime.block_on(stop);
            }
            remove(&started, &record);
        });
        stopping.join().ok();
    }
}

/// Shuts the stack down, and waits until its supervisor closes the connection.
async fn stop(paths: &StackPaths) -> Result<(), Error> {
    let Some(mut connection) = Connection::open(paths).await? else { return Ok(()) };
    connection.shut_down(false).await?;
    while connection.next().await?.is_some() {}
    Ok(())
}

/// Deletes the files of the stack after its guardian has exited. If that fails, the record stays
/// for a later clean-up.
fn remove(started: &Started, record: &Path) {
    let deadline = Instant::now() + STOP_TIME;
    loop {
        match remove_stack(&started.paths()) {
            Removal::Done => break,
            Removal::Running if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Removal::Running | Removal::Kept => return,
        }
    }
    std::fs::remove_file(record).ok();
    std::fs::remove_file(log_of(record)).ok();
}

/// The file with the output of the tool, next to the record.
fn log_of(record: &Path) -> PathBuf {
    let number = record.extension().unwrap_or_default().to_string_lossy().replace("fresh", "log");
    record.with_extension(number)
}
