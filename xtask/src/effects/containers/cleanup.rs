//! What a stack has in the engine, and how all of it is removed.
//!
//! A note in the stack's folder is written before the first thing is made, and says by
//! which engine; where there is no note nobody asks the engine. Everything is found by
//! the stack's label, so that other people's containers are never touched. It waits for
//! the engine without a runtime, since a guardian has none.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use crate::system::json_file::write_json;
use crate::system::sweep::kill_monitors;

/// The label that tells which stack a container or network belongs to.
pub(crate) const STACK_LABEL: &str = "xtask.stack";

/// What the names of a stack's containers begin with.
pub(crate) fn container_names(mark: &str) -> String {
    format!("xtask-{mark}-")
}

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
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long containers may be there after they were told to go.
const REMOVAL: Duration = Duration::from_secs(10);

/// The pause between two looks at a command that runs.
const PAUSE: Duration = Duration::from_millis(5);

/// The note that a stack has something in an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineRecord {
    engine: PathBuf,
    variables: Vec<(String, String)>,
    /// Why something is still there, once it should have been removed.
    #[serde(default)]
    left: Option<String>,
}

impl EngineRecord {
    /// Says that there will be something by this engine.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(engine: &Engine, path: &Path) -> io::Result<()> {
        let set = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        let note = Self {
            engine: engine.program().to_path_buf(),
            variables: CHOOSING.iter().filter_map(|name| set(name)).collect(),
            left: None,
        };
        write_json(path, &note)
    }

    /// The note at this path, if there is one.
    ///
    /// # Errors
    /// Why it cannot be read, and what to do: without it nobody knows the engine.
    fn read(path: &Path) -> Result<Option<Self>, String> {
        let read = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.and_then(|text| Ok(serde_json::from_slice(&text)?)),
        };
        read.map(Some).map_err(|error| {
            format!(
                "cannot read `{}`: {error}; delete it once `ps --all --filter label={STACK_LABEL}` \
                 of your container engine lists nothing of this stack",
                path.display()
            )
        })
    }

    /// Why something is left, and the command that removes it.
    fn way_out(&self, why: &str, removal: &[&str]) -> String {
        format!("{why}; `{} {}` removes what is left", self.engine.display(), removal.join(" "))
    }

    /// The names that a question to the engine lists.
    ///
    /// # Errors
    /// Why it does not answer, and what to do: without names there is no command that removes.
    fn list(&self, question: &[&str]) -> Result<Vec<String>, String> {
        let answer = run(self.command(question)).map_err(|why| {
            format!("{why}; start the engine; any `cargo xtask` command tries again")
        })?;
        let names = answer.lines().map(str::trim).filter(|name| !name.is_empty());
        Ok(names.map(str::to_owned).collect())
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
pub(crate) enum AfterCleanup {
    /// It goes: nobody can have ordered anything since.
    DeleteRecord,
    /// It stays, so that the next command looks again: an engine may yet make what a command
    /// line ordered that was killed a moment ago.
    KeepRecord,
}

/// What became of what a stack had in an engine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// The names of the containers that were there and are gone.
    pub(crate) containers: Vec<String>,
    /// Why something may be left, and what to do, on one line; none where nothing is.
    pub(crate) kept: Option<String>,
}

impl Removed {
    fn keeps(&mut self, why: String) {
        self.kept = Some(match self.kept.take() {
            Some(before) => format!("{before}; {why}"),
            None => why,
        });
    }
}

/// Why something of a stack that has ended is still in the engine; none where nothing is.
pub(crate) fn left(path: &Path) -> Option<String> {
    EngineRecord::read(path).map_or_else(Some, |note| note?.left)
}

/// Removes all that carries the stack's label; nothing where there is no note. While the engine
/// does not do it the note stays and says why, and the next command tries again.
pub(crate) fn remove(path: &Path, mark: &str, then: AfterCleanup) -> Removed {
    let mut removed = Removed::default();
    let note = match EngineRecord::read(path) {
        Ok(Some(note)) => note,
        Ok(None) => return removed,
        Err(why) => {
            removed.keeps(why);
            return removed;
        }
    };
    if let Err(why) = remove_all(&note, mark, &mut removed) {
        removed.keeps(why);
    }
    let noted = match (&removed.kept, then) {
        (None, AfterCleanup::DeleteRecord) => std::fs::remove_file(path),
        (None, AfterCleanup::KeepRecord) | (Some(_), _) => {
            write_json(path, &EngineRecord { left: removed.kept.clone(), ..note })
        }
    };
    if let Err(error) = noted {
        removed.keeps(format!("cannot bring `{}` up to date: {error}", path.display()));
    }
    removed
}

fn remove_all(note: &EngineRecord, mark: &str, removed: &mut Removed) -> Result<(), String> {
    let filter = format!("label={STACK_LABEL}={mark}");
    let list = ["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"];
    let names = note.list(&list)?;
    if !names.is_empty() {
        let mut removal = Engine::at(note.engine.clone()).removal();
        let how = removal.len();
        removal.extend(names.iter().map(String::as_str));
        // One that removes itself meanwhile makes this fail; the next look tells.
        let refused = run(note.command(&removal)).err();
        let looked = left_of(note, &list);
        let left = match (&looked, &refused) {
            (Ok(left), _) => left.clone(),
            // What it said that it removed is gone, though it says nothing more.
            (Err(_), None) => Vec::new(),
            (Err(_), Some(_)) => names.clone(),
        };
        if !left.is_empty() {
            removal.truncate(how);
            removal.extend(left.iter().map(String::as_str));
            let why = refused.unwrap_or_else(|| "the engine does not remove them".to_owned());
            removed.keeps(note.way_out(&why, &removal));
        }
        removed.containers = names.into_iter().filter(|name| !left.contains(name)).collect();
        looked?;
    }
    let networks = ["network", "ls", "--filter", &filter, "--format", "{{.Name}}"];
    for network in note.list(&networks)? {
        let removal = ["network", "rm", &network];
        if let Err(why) = run(note.command(&removal)) {
            removed.keeps(note.way_out(&why, &removal));
        }
    }
    if removed.kept.is_none() {
        kill_monitors(&container_names(mark));
    }
    Ok(())
}

/// Which containers of a list are there after a while: an engine may still be removing.
fn left_of(note: &EngineRecord, list: &[&str]) -> Result<Vec<String>, String> {
    let until = Instant::now() + REMOVAL;
    loop {
        let left = note.list(list)?;
        if left.is_empty() || Instant::now() > until {
            return Ok(left);
        }
        std::thread::sleep(PAUSE * 10);
    }
}

/// Runs a command to its end, within bounds. What it prints is read meanwhile: it would wait
/// for that before it ends.
fn run(mut command: Command) -> Result<String, String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("cannot run `{shown}`: {error}");
    let mut child = command.spawn().map_err(failed)?;
    let mut out = Output::of(child.stdout.take()).map_err(failed)?;
    let mut err = Output::of(child.stderr.take()).map_err(failed)?;
    let until = Instant::now() + COMMAND_TIMEOUT;
    let status = loop {
        let status = child.try_wait().map_err(failed)?;
        out.read();
        err.read();
        match status {
            Some(status) => break status,
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "`{shown}` did not end within {} seconds",
                    COMMAND_TIMEOUT.as_secs()
                ));
            }
            None => std::thread::sleep(PAUSE),
        }
    };
    match status.success() {
        true => Ok(out.text()),
        false => Err(format!("`{shown}` failed: {}", err.text().trim())),
    }
}

/// What a command prints, as far as it has.
struct Output<P> {
    pipe: Option<P>,
    bytes: Vec<u8>,
}

impl<P: Read + AsFd> Output<P> {
    fn of(pipe: Option<P>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { pipe, bytes: Vec::new() })
    }

    /// Reads what is there, and waits for nothing more.
    fn read(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.read_to_end(&mut self.bytes);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_note_no_engine_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        assert_eq!(remove(&path, "m", AfterCleanup::DeleteRecord), Removed::default());
    }

    #[test]
    fn a_note_stays_for_another_look_until_it_is_to_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        // It says of everything that there is none.
        let engine = "/bin/true".into();
        let note =
            EngineRecord { engine, variables: Vec::new(), left: Some("it slept".to_owned()) };
        write_json(&path, &note).unwrap();
        assert_eq!(remove(&path, "m", AfterCleanup::KeepRecord), Removed::default());
        assert_eq!(EngineRecord::read(&path), Ok(Some(EngineRecord { left: None, ..note })));
        assert_eq!(remove(&path, "m", AfterCleanup::DeleteRecord), Removed::default());
        assert!(!path.exists());
    }

    #[test]
    fn a_note_stays_while_its_engine_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        let note =
            EngineRecord { engine: "/no/such/engine".into(), variables: Vec::new(), left: None };
        write_json(&path, &note).unwrap();
        let why = remove(&path, "m", AfterCleanup::DeleteRecord).kept.unwrap();
        assert!(why.contains("/no/such/engine"), "{why}");
        assert_eq!(left(&path), Some(why), "it says why");
    }

    #[test]
    fn a_note_that_cannot_be_read_stays_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        std::fs::write(&path, "{\"engine\":\"/bin/tr").unwrap();
        let why = remove(&path, "m", AfterCleanup::DeleteRecord).kept.unwrap();
        assert!(why.contains("engine.json`: EOF"), "{why}");
        assert!(why.contains("delete it once `ps --all --filter label="), "{why}");
        assert!(path.exists());
        assert_eq!(left(&path), Some(why));
    }

    /// A note that names this script as the engine.
    fn note_of(folder: &Path, script: &str) -> PathBuf {
        let engine = folder.join("engine");
        std::fs::write(&engine, format!("#!/bin/sh\n{script}\n")).unwrap();
        let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&engine, may_run).unwrap();
        let path = folder.join("engine.json");
        write_json(&path, &EngineRecord { engine, variables: Vec::new(), left: None }).unwrap();
        path
    }

    #[test]
    fn more_than_a_pipe_holds_is_read_while_the_engine_prints_it() {
        let folder = tempfile::tempdir().unwrap();
        // More complaints than names, and the names are there only once.
        let script = "cd \"$(dirname \"$0\")\"\n\
            [ \"$1\" = ps ] && [ ! -e asked ] || exit 0\n\
            : > asked\n\
            head -c 200000 /dev/zero >&2\n\
            for n in $(seq 3000); do echo container-$n-with-a-name-as-long-as-names-are; done";
        let path = note_of(folder.path(), script);
        assert_eq!(remove(&path, "m", AfterCleanup::DeleteRecord).containers.len(), 3000);
        assert!(!path.exists());
    }

    #[test]
    fn an_engine_that_stops_after_a_removal_is_believed_what_it_said_of_it() {
        let removed_by = |rm: &str| {
            let folder = tempfile::tempdir().unwrap();
            let script = format!(
                "cd \"$(dirname \"$0\")\"\n\
                 case \"$1\" in\n\
                 ps) [ -e asked ] && {{ echo it stopped >&2; exit 1; }}; : > asked; echo a; echo b ;;\n\
                 rm) {rm} ;;\n\
                 esac"
            );
            let path = note_of(folder.path(), &script);
            let removed = remove(&path, "m", AfterCleanup::DeleteRecord);
            assert!(path.exists(), "networks may be left");
            (removed.containers, removed.kept.unwrap())
        };
        let (containers, why) = removed_by("true");
        assert_eq!(containers, ["a", "b"]);
        assert!(why.contains("it stopped; start the engine; "), "{why}");
        assert!(!why.contains("removes what is left"), "{why}");

        let (containers, why) = removed_by("echo it is busy >&2; exit 1");
        assert_eq!(containers, [""; 0]);
        let (first, second) = ("it is busy; `", " a b` removes what is left; `");
        assert!(why.contains(first) && why.contains(second), "{why}");
        assert!(why.contains("it stopped; start the engine; "), "{why}");
    }

    #[test]
    fn what_is_left_is_told_with_a_way_out_and_so_is_what_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let script = "cd \"$(dirname \"$0\")\"\n\
            case \"$1 $2 $3\" in\n\
            \"ps \"*) [ -e asked ] || printf 'a\\nb\\n'; : > asked ;;\n\
            \"network ls \"*) printf 'one\\ntwo\\nthree\\n' ;;\n\
            \"network rm two\") echo removed >> told ;;\n\
            \"network rm \"*) echo \"$3 is in use\" >&2; exit 1 ;;\n\
            esac";
        let path = note_of(folder.path(), script);
        let removed = remove(&path, "m", AfterCleanup::DeleteRecord);
        assert_eq!(removed.containers, ["a", "b"]);
        let why = removed.kept.unwrap();
        let engine = folder.path().join("engine");
        for network in ["one", "three"] {
            let said = format!("{network} is in use; `{} network rm {network}`", engine.display());
            assert!(why.contains(&said), "{why}");
        }
        assert_eq!(std::fs::read_to_string(folder.path().join("told")).unwrap(), "removed\n");
        assert_eq!(left(&path), Some(why));
    }
}
