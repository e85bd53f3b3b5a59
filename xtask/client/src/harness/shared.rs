//! One stack for all tests of a run. The first test starts it under a file lock and records the
//! result; the other tests read the record.
//!
//! Nothing here stops the stack: its supervisor stops when the runner exits.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use super::SHAPE_VARIABLE;
use super::cargo::{subcommand, workspace_of};
use super::error::StartError;
use super::runner::Runner;
use xtask_control::StackPaths;
use xtask_control::cargo;

/// The number of last lines of the tool's output in an error; the log has all of them.
const SHOWN_LINES: usize = 100;

/// The record of a run's stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) stack: String,
    pub(crate) workspace: PathBuf,
    /// The stack's folder. A later run that cleans up may have another `XTASK_STATE_DIR`.
    pub(crate) folder: PathBuf,
    /// Whether the start succeeded. A failed start is not retried.
    ready: bool,
}

/// The files of one run, named after its runner.
pub(crate) struct Files {
    folder: PathBuf,
    key: String,
}

impl Started {
    /// The record of a stack before its start.
    pub(crate) fn new(stack: String, workspace: PathBuf) -> Result<Self, StartError> {
        let paths = StackPaths::of(&workspace, &stack).map_err(StartError::file(&workspace))?;
        Ok(Self { stack, workspace, folder: paths.folder().to_owned(), ready: false })
    }

    pub(crate) fn paths(&self) -> StackPaths {
        StackPaths::at(&self.folder)
    }
}

impl Files {
    pub(crate) fn of(folder: &Path, runner: Runner) -> Self {
        Self { folder: folder.to_owned(), key: runner.key() }
    }

    /// The file with a [`Started`].
    fn record(&self) -> PathBuf {
        self.path("json")
    }

    pub(crate) fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.key))
    }
}

/// The stack of this runner in the workspace of `package`. The first call starts it with `start`.
/// Blocks meanwhile.
pub(crate) fn start_once(
    files: &Files,
    package: &Path,
    start: impl FnOnce(&Started, &Path) -> Result<(), StartError>,
) -> Result<Started, StartError> {
    // A test holds the lock while it finds or starts the stack.
    let _lock = lock(&files.path("lock"), File::lock)?;
    // The output of the tool.
    let log = files.path("log");
    match read(&files.record()) {
        Some(started) if started.ready => return Ok(started),
        Some(_) => return Err(StartError::FailedBefore(log)),
        None => {}
    }
    let mut started = Started::new(format!("test-{}", files.key), workspace_of(package)?)?;
    // Written before the start, so that an interrupted start is not retried, and is cleaned up.
    write(&files.record(), &started)?;
    start(&started, &log)?;
    started.ready = true;
    write(&files.record(), &started)?;
    Ok(started)
}

/// Deletes the files of runners that have exited, after `remove` has removed their stacks. If it
/// returns false the files stay, and a later run retries.
pub(crate) fn clean(folder: &Path, mut remove: impl FnMut(&StackPaths) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let key = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        if Runner::from_key(key).is_none_or(Runner::is_alive) {
            continue;
        }
        if let Some(started) = read(&path)
            && !remove(&started.paths())
        {
            continue;
        }
        // A concurrent run may have deleted it.
        fs::remove_file(&path).ok();
    }
}

/// Starts an isolated stack that stops when `runner` exits, and waits until it is ready.
pub(crate) fn start(runner: Runner, started: &Started, log: &Path) -> Result<(), StartError> {
    let Started { stack, workspace, .. } = started;
    let pid = runner.pid.to_string();
    let shape = std::env::var(SHAPE_VARIABLE).unwrap_or_default();
    let mut arguments = vec![
        subcommand(workspace),
        "up",
        "--detach",
        "--isolated",
        "--stack",
        stack,
        "--until-pid",
        &pid,
    ];
    arguments.extend(shape.split_whitespace());
    let output = File::create(log).map_err(StartError::file(log))?;
    let errors = output.try_clone().map_err(StartError::file(log))?;
    let command = format!("cargo {}", arguments.join(" "));
    let status = cargo(workspace)
        .args(&arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(|error| StartError::Cargo(command.clone(), error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let (workspace, output) = (workspace.clone(), last_lines(log));
    Err(StartError::Tool { command, workspace, status, output })
}

/// Opens a file and waits for a lock on it. Every call opens the file anew, so the lock also works
/// between threads.
pub(crate) fn lock(path: &Path, lock: fn(&File) -> io::Result<()>) -> Result<File, StartError> {
    let locked = open(path).and_then(|file| lock(&file).map(|()| file));
    locked.map_err(StartError::file(path))
}

/// Opens a file to lock it, and creates it if needed.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).append(true).create(true).open(path)
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

fn read(path: &Path) -> Option<Started> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

pub(crate) fn write(path: &Path, started: &Started) -> Result<(), StartError> {
    let text = serde_json::to_vec(started).map_err(|error| StartError::file(path)(error.into()))?;
    fs::write(path, text).map_err(StartError::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn files(folder: &Path) -> Files {
        Files::of(folder, Runner::of_this_test())
    }

    fn here() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn concurrent_tests_start_one_stack() {
        let folder = tempfile::tempdir().unwrap();
        let starts = AtomicU32::new(0);
        let names: Vec<String> = std::thread::scope(|scope| {
            let asks: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        let started = start_once(&files(folder.path()), here(), |_, _| {
                            starts.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        });
                        started.unwrap().stack
                    })
                })
                .collect();
            asks.into_iter().map(|ask| ask.join().unwrap()).collect()
        });
        assert_eq!(starts.into_inner(), 1);
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    }

    #[test]
    fn failed_start_is_reported_once_without_retry() {
        let folder = tempfile::tempdir().unwrap();
        let fail = |_: &Started, log: &Path| {
            fs::write(log, "the tool's output").unwrap();
            Err(StartError::Cargo("c".into(), last_lines(log)))
        };
        let first = start_once(&files(folder.path()), here(), fail).unwrap_err().to_string();
        assert!(first.contains("the tool's output"), "{first}");
        let again = |_: &Started, _: &Path| panic!("retried");
        let second = start_once(&files(folder.path()), here(), again).unwrap_err();
        assert!(matches!(second, StartError::FailedBefore(_)), "{second}");
        assert!(!second.to_string().contains("the tool's output"), "{second}");
    }

    #[test]
    fn clean_removes_files_and_stacks_of_exited_runners() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("1-999999.json");
        let left = Started {
            stack: "s".into(),
            workspace: "/w".into(),
            folder: "/state/of/then/s".into(),
            ready: false,
        };
        write(&gone, &left).unwrap();
        let own = files(folder.path());
        start_once(&own, here(), |_, _| Ok(())).unwrap();
        let mut removed = Vec::new();
        clean(folder.path(), |_| false);
        assert!(gone.exists());
        clean(folder.path(), |left| {
            removed.push(left.folder().to_owned());
            true
        });
        assert_eq!(removed, [Path::new("/state/of/then/s")]);
        assert!(!gone.exists());
        assert!(own.record().exists());
    }
}
