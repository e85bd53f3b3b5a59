//! One stack for all tests of a run: the first test that asks starts it, under a locked
//! file, and the others read there what came of it.
//!
//! It does not stop the stack: the supervisor watches the runner and goes when it goes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use super::SHAPE_VARIABLE;
use super::cargo::{cargo, workspace_of};
use super::error::StartError;
use super::runner::Runner;
use crate::StackPaths;

/// Lines of the tool's words that a failing test shows; its log holds all of them.
const SHOWN_LINES: usize = 100;

/// The stack of a run, for every test of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// Its name.
    pub(crate) stack: String,
    /// The workspace root.
    pub(crate) workspace: PathBuf,
    /// Where it keeps its files. Who cleans up later may have another `XTASK_STATE_DIR`, and
    /// would look for them elsewhere.
    pub(crate) folder: PathBuf,
    /// Whether it got ready. If not it is not tried again.
    ready: bool,
}

/// The files of one run, named after its runner.
pub(crate) struct Files {
    folder: PathBuf,
    key: String,
}

impl Started {
    /// A stack that is about to be started.
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

    /// Held while the stack is looked for or started.
    fn lock(&self) -> PathBuf {
        self.path("lock")
    }

    /// A [`Started`].
    fn outcome(&self) -> PathBuf {
        self.path("json")
    }

    /// What the tool printed.
    fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// Any other file of this run.
    pub(crate) fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.key))
    }
}

/// The stack of this runner in the workspace of `package`, started by `start` if no test did
/// before. Blocks meanwhile.
pub(crate) fn once(
    files: &Files,
    package: &Path,
    start: impl FnOnce(&Started, &Path) -> Result<(), StartError>,
) -> Result<Started, StartError> {
    let _held = lock(&files.lock())?;
    match read(&files.outcome()) {
        Some(started) if started.ready => return Ok(started),
        Some(_) => return Err(StartError::FailedBefore { log: files.log() }),
        None => {}
    }
    let workspace = workspace_of(package)?;
    let stack = format!("test-{}", files.key);
    let mut started = Started::new(stack, workspace)?;
    // Before the start, so that one that is cut short counts as tried, and is cleaned up.
    write(&files.outcome(), &started)?;
    start(&started, &files.log())?;
    started.ready = true;
    write(&files.outcome(), &started)?;
    Ok(started)
}

/// Deletes the files of runners that are gone, and has `bury` delete the stacks they left;
/// where that cannot be done yet the files stay, so that it is tried again.
pub(crate) fn clean(folder: &Path, mut bury: impl FnMut(&StackPaths) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let key = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        if Runner::from_key(key).is_none_or(Runner::is_alive) {
            continue;
        }
        if let Some(started) = read(&path)
            && !bury(&started.paths())
        {
            continue;
        }
        // Another run may be cleaning too; whoever comes second has nothing to do.
        fs::remove_file(&path).ok();
    }
}

/// Starts an isolated stack that lives as long as `runner`, and waits until it is ready.
pub(crate) fn start(runner: Runner, started: &Started, log: &Path) -> Result<(), StartError> {
    let Started { stack, workspace, .. } = started;
    let pid = runner.pid.to_string();
    let shape = std::env::var(SHAPE_VARIABLE).unwrap_or_default();
    let mut arguments =
        vec!["xtask", "up", "--detach", "--isolated", "--stack", stack, "--until-pid", &pid];
    arguments.extend(shape.split_whitespace());
    let words = File::create(log).map_err(StartError::file(log))?;
    let also = words.try_clone().map_err(StartError::file(log))?;
    let command = format!("cargo {}", arguments.join(" "));
    let status = cargo(workspace)
        .args(&arguments)
        .stdin(Stdio::null())
        .stdout(words)
        .stderr(also)
        .status()
        .map_err(|error| StartError::Cargo {
            command: command.clone(),
            message: error.to_string(),
        })?;
    if status.success() {
        return Ok(());
    }
    let (workspace, words) = (workspace.clone(), last_lines(log));
    Err(StartError::Tool { command, workspace, status, words })
}

/// Opens a file of this user alone and waits for the lock on it. Every caller has an open
/// file of its own, so threads wait for each other as processes do.
pub(crate) fn lock(path: &Path) -> Result<File, StartError> {
    let file = open(path)?;
    file.lock().map_err(StartError::file(path))?;
    Ok(file)
}

/// As [`lock`], but shared with whoever asks for the same.
pub(crate) fn lock_shared(path: &Path) -> Result<File, StartError> {
    let file = open(path)?;
    file.lock_shared().map_err(StartError::file(path))?;
    Ok(file)
}

fn open(path: &Path) -> Result<File, StartError> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(StartError::file(path))
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
    fn of_tests_that_ask_at_once_only_one_starts_the_stack() {
        let folder = tempfile::tempdir().unwrap();
        let starts = AtomicU32::new(0);
        let names: Vec<String> = std::thread::scope(|scope| {
            let asks: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        let started = once(&files(folder.path()), here(), |_, _| {
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
    fn a_failed_start_is_told_in_full_once_and_not_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let fail = |_: &Started, log: &Path| {
            fs::write(log, "the tool's words").unwrap();
            Err(StartError::Cargo { command: "c".into(), message: last_lines(log) })
        };
        let first = once(&files(folder.path()), here(), fail).unwrap_err().to_string();
        assert!(first.contains("the tool's words"), "{first}");
        let again = |_: &Started, _: &Path| panic!("tried again");
        let second = once(&files(folder.path()), here(), again).unwrap_err();
        assert!(matches!(second, StartError::FailedBefore { .. }), "{second}");
        assert!(!second.to_string().contains("the tool's words"), "{second}");
    }

    #[test]
    fn files_of_runners_that_are_gone_are_deleted_and_their_stacks_buried() {
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
        once(&own, here(), |_, _| Ok(())).unwrap();
        let mut buried = Vec::new();
        clean(folder.path(), |_| false);
        assert!(gone.exists());
        clean(folder.path(), |left| {
            buried.push(left.folder().to_owned());
            true
        });
        assert_eq!(buried, [Path::new("/state/of/then/s")]);
        assert!(!gone.exists());
        assert!(own.outcome().exists());
    }
}
