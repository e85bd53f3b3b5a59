//! A stack for one test alone, started for it and gone with it: for tests of how the stack
//! starts, or that leave nothing as it was.
//!
//! Most tests share the stack of their run: this costs a start.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::once::{self, Files, Started};
use super::runner::Runner;
use super::{
    Burial, HarnessError, StartError, bury, chain, folder_of_runners, package, workspace_of,
};
use crate::connection::Connection;
use crate::paths::StackPaths;
use crate::protocol::Request;
use crate::{Error, Stack};

/// How long the end of the stack is waited for before it is left to end by itself.
const FAREWELL: Duration = Duration::from_secs(30);

/// A stack that ends, and whose files go, when this value does; also when the test's process
/// is killed.
#[derive(Debug)]
pub struct Fresh {
    stack: Stack,
    started: Started,
    /// Names the stack, so that it is found if this process is killed.
    note: PathBuf,
}

impl Deref for Fresh {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// A stack that no other test sees, with data of its own, ready.
///
/// # Panics
/// When it cannot be started; the panic's text is the tool's.
pub async fn fresh() -> Fresh {
    make().await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

async fn make() -> Result<Fresh, HarnessError> {
    let (started, note, paths) = match tokio::task::spawn_blocking(start).await {
        Ok(result) => result?,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    let folder = paths.folder().to_owned();
    let gone = |source| HarnessError::Gone { folder, source };
    let stack = Stack::connect(paths).await.map_err(gone)?;
    Ok(Fresh { stack, started, note })
}

fn start() -> Result<(Started, PathBuf, StackPaths), StartError> {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let folder = folder_of_runners()?;
    // It must not outlive the test, whose process may end before the runner does.
    let runner = Runner::this();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let files = Files::of(&folder, runner);
    let workspace = workspace_of(&package())?;
    let started = Started::new(format!("test-{}-{number}", runner.key()), workspace)?;
    let note = files.path(&format!("fresh{number}"));
    once::write(&note, &started)?;
    let outcome = once::start(runner, &started, &log_of(&note));
    if outcome.is_err() {
        // What the tool said stands in the error.
        end(&started, &note);
    }
    outcome?;
    let paths = started.paths();
    Ok((started, note, paths))
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let (paths, started, note) =
            (self.stack.paths().clone(), self.started.clone(), self.note.clone());
        // A runtime cannot be started inside another one's thread.
        let farewell = std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            {
                runtime.block_on(async { tokio::time::timeout(FAREWELL, stop(&paths)).await.ok() });
            }
            end(&started, &note);
        });
        farewell.join().ok();
    }
}

/// Takes the stack down in order, and waits until its supervisor says no more.
async fn stop(paths: &StackPaths) -> Result<(), Error> {
    let Some(mut connection) = Connection::open(paths).await? else { return Ok(()) };
    connection.send(Request::Shutdown { now: false }).await?;
    while connection.next().await?.is_some() {}
    Ok(())
}

/// Deletes what the stack left, once its guardian has let go of it. What cannot be deleted
/// is found by the note later.
fn end(started: &Started, note: &Path) {
    let deadline = Instant::now() + FAREWELL;
    loop {
        match bury(&started.paths()) {
            Burial::Done => break,
            Burial::Early if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Burial::Early | Burial::Later => return,
        }
    }
    std::fs::remove_file(note).ok();
    std::fs::remove_file(log_of(note)).ok();
}

/// What the tool printed, in a file beside the note.
fn log_of(note: &Path) -> PathBuf {
    let number = note.extension().unwrap_or_default().to_string_lossy().replace("fresh", "log");
    note.with_extension(number)
}
