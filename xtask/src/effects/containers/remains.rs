//! What a stack has in the engine, and how all of it is removed.
//!
//! A note in the stack's folder is written before the first thing is made, and says by
//! which engine; where there is no note nobody asks the engine. Everything is found by
//! the stack's label, so that other people's containers are never touched. It waits for
//! the engine without a runtime, since a guardian has none.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::engine::Engine;

/// The label that tells which stack a container or network belongs to.
pub(crate) const STACK_LABEL: &str = "xtask.stack";

/// Variables that say which engine a command line talks to.
const CHOOSING: [&str; 7] = [
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "CONTAINER_HOST",
    "CONTAINER_CONNECTION",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
];

/// How long one command of the engine may take: a hanging one must not keep the stack's
/// lock for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks at a command that runs.
const PAUSE: Duration = Duration::from_millis(5);

/// The note that a stack has something in an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    engine: PathBuf,
    variables: Vec<(String, String)>,
}

impl Note {
    /// Says that there will be something by this engine.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(engine: &Engine, path: &Path) -> io::Result<()> {
        let set = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        let note = Self {
            engine: engine.program().to_path_buf(),
            variables: CHOOSING.iter().filter_map(|name| set(name)).collect(),
        };
        std::fs::write(path, serde_json::to_vec(&note)?)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.engine);
        for name in CHOOSING {
            command.env_remove(name);
        }
        command.args(args).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// What becomes of the note once everything is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoteThen {
    /// It goes: nobody can have ordered anything since.
    Forget,
    /// It stays, so that the next command looks again: an engine may yet make what a command
    /// line ordered that was killed a moment ago.
    Keep,
}

/// Removes all that carries the stack's label. Returns the names of the containers that were
/// there; none where there is no note.
///
/// # Errors
/// One line when the engine does not do it; the note stays, for the next time.
pub(crate) fn remove(path: &Path, mark: &str, then: NoteThen) -> Result<Vec<String>, String> {
    let Ok(note) = std::fs::read(path) else { return Ok(Vec::new()) };
    let Ok(note) = serde_json::from_slice::<Note>(&note) else {
        let _ = std::fs::remove_file(path);
        return Ok(Vec::new());
    };
    let filter = format!("label={STACK_LABEL}={mark}");
    let list = ["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"];
    let names = lines(&run(note.command(&list))?);
    if !names.is_empty() {
        let mut removal = Engine::at(note.engine.clone()).removal();
        removal.extend(names.iter().map(String::as_str));
        // One that removes itself meanwhile makes this fail; the next look tells.
        let _ = run(note.command(&removal));
        until_none(&note, &list)?;
    }
    let networks = run(note.command(&["network", "ls", "--quiet", "--filter", &filter]))?;
    for network in lines(&networks) {
        run(note.command(&["network", "rm", &network]))?;
    }
    if then == NoteThen::Forget {
        let _ = std::fs::remove_file(path);
    }
    Ok(names)
}

/// Waits until the list is empty: an engine may still be removing.
fn until_none(note: &Note, list: &[&str]) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = lines(&run(note.command(list))?);
        match left.first() {
            None => return Ok(()),
            Some(name) if Instant::now() > until => {
                return Err(format!("container `{name}` cannot be removed"));
            }
            Some(_) => std::thread::sleep(PAUSE * 10),
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Runs a command to its end, within bounds.
fn run(mut command: Command) -> Result<String, String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("cannot run `{shown}`: {error}");
    let mut child = command.spawn().map_err(failed)?;
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`{shown}` did not end"));
            }
            None => std::thread::sleep(PAUSE),
        }
    };
    let mut text = String::new();
    let mut said = String::new();
    let _ = child.stdout.take().map(|mut out| out.read_to_string(&mut text));
    let _ = child.stderr.take().map(|mut err| err.read_to_string(&mut said));
    match status.success() {
        true => Ok(text),
        false => Err(format!("`{shown}` failed: {}", said.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_note_no_engine_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            remove(&folder.path().join("engine.json"), "m", NoteThen::Forget),
            Ok(Vec::new())
        );
    }

    #[test]
    fn a_note_stays_for_another_look_until_it_is_to_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        // It says of everything that there is none.
        let note = Note { engine: "/bin/true".into(), variables: Vec::new() };
        std::fs::write(&path, serde_json::to_vec(&note).unwrap()).unwrap();
        assert_eq!(remove(&path, "m", NoteThen::Keep), Ok(Vec::new()));
        assert!(path.exists());
        assert_eq!(remove(&path, "m", NoteThen::Forget), Ok(Vec::new()));
        assert!(!path.exists());
    }

    #[test]
    fn a_note_stays_while_its_engine_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        let note = Note { engine: "/no/such/engine".into(), variables: Vec::new() };
        std::fs::write(&path, serde_json::to_vec(&note).unwrap()).unwrap();
        assert!(remove(&path, "m", NoteThen::Forget).unwrap_err().contains("/no/such/engine"));
        assert!(path.exists());
    }
}
