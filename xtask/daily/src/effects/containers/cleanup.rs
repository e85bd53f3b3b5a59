//! Removes everything that a stack has created in a container engine.
//!
//! A record in the stack's folder names the engine. It is written before the first object
//! is created; without a record no engine is asked. Objects are found by the label with a mark
//! of the stack, which nothing of another user has. All calls block, because a guardian
//! has no runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ContainerError;
use super::blocking::run;
use super::engine::{Engine, EngineKind};
use crate::system::json_file::write_json;
use crate::system::mark::Marks;
use crate::system::sweep::kill_monitors;

/// The label with the short name of the stack, for people. An image can set it too.
pub(crate) const STACK_LABEL: &str = "xtask.stack";

/// The label with the mark of the supervisor that created a container or network. It decides what
/// is removed.
pub(crate) const MARK_LABEL: &str = "xtask.mark";

/// The beginning of the names of a stack's containers.
pub(crate) fn container_names(stack: &str) -> String {
    format!("xtask-{stack}-")
}

/// Variables that choose the engine that a command line talks to.
const CHOOSING: [&str; 7] = [
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "CONTAINER_HOST",
    "CONTAINER_CONNECTION",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
];

/// How long the engine may take to remove containers after it was asked to.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(50);

/// The content of `engine.json`: the engine in which a stack has created objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineRecord {
    /// The engine that made the objects. It is never executed, only compared.
    #[serde(default)]
    made_by: PathBuf,
    /// Found anew each time: a file of state names no program that is executed.
    #[serde(skip)]
    engine: PathBuf,
    #[serde(default)]
    kind: EngineKind,
    variables: Vec<(String, String)>,
    /// Why objects are left after a cleanup.
    #[serde(default)]
    left: Option<String>,
}

impl EngineRecord {
    pub(crate) fn write(engine: &Engine, path: &Path) -> io::Result<()> {
        let set = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        let record = Self {
            made_by: engine.program().to_path_buf(),
            engine: PathBuf::new(),
            kind: engine.kind(),
            variables: CHOOSING.iter().filter_map(|name| set(name)).collect(),
            left: None,
        };
        write_json(path, &record)
    }

    /// The record at this path; none if there is no file. `engine` finds the program.
    fn read(
        path: &Path,
        engine: impl Fn(EngineKind) -> PathBuf,
    ) -> Result<Option<Self>, ContainerError> {
        let read = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.and_then(|text| Ok(serde_json::from_slice(&text)?)),
        };
        let path = path.to_path_buf();
        let found = |record: Self| Some(Self { engine: engine(record.kind), ..record });
        read.map(found).map_err(|source| ContainerError::ReadRecord { path, source })
    }

    fn list(&self, query: &[&str]) -> Result<Vec<String>, ContainerError> {
        let answer = run(self.command(query)).map_err(ContainerError::List)?;
        let names = answer.lines().map(str::trim).filter(|name| !name.is_empty());
        Ok(names.map(str::to_owned).collect())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.engine);
        for name in CHOOSING {
            command.env_remove(name);
        }
        command.args(args).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The command line with these arguments, for a user to run.
    fn shown(&self, args: &[&str]) -> String {
        format!("{} {}", self.engine.display(), args.join(" "))
    }
}

/// What a cleanup does with the record after it has removed everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterCleanup {
    /// No command to the engine is pending.
    DeleteRecord,
    /// The engine may still obey a command line that was killed: the next command
    /// command cleans up again.
    KeepRecord,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) containers: Vec<String>,
    /// Why objects may be left, with a hint, on one line.
    pub(crate) failure: Option<String>,
}

impl Removed {
    fn add_failure(&mut self, error: &ContainerError) {
        let line = error.line();
        self.failure = Some(match self.failure.take() {
            Some(before) => format!("{before}; {line}"),
            None => line,
        });
    }
}

/// Why a stack that has ended has left objects in the engine; none if it has left none.
pub(crate) fn failure(path: &Path) -> Option<String> {
    let record = EngineRecord::read(path, |_| PathBuf::new());
    record.map_or_else(|error| Some(error.line()), |record| record?.left)
}

/// Removes all objects with a mark of the stack, if there is a record. After a failure the
/// record contains the reason, and the next command tries again.
pub(crate) fn remove(path: &Path, marks: &Marks, after: AfterCleanup) -> Removed {
    remove_with(path, marks, after, Engine::program_of)
}

fn remove_with(
    path: &Path,
    marks: &Marks,
    after: AfterCleanup,
    engine: impl Fn(EngineKind) -> PathBuf,
) -> Removed {
    let mut removed = Removed::default();
    let record = match EngineRecord::read(path, engine) {
        Ok(Some(record)) => record,
        Ok(None) => return removed,
        Err(error) => {
            removed.add_failure(&error);
            return removed;
        }
    };
    if let Err(error) = remove_marked(&record, marks, &mut removed) {
        removed.add_failure(&error);
    }
    if removed.failure.is_none() {
        kill_monitors(&container_names(marks.stack()));
    }
    let updated = match (&removed.failure, after) {
        (None, AfterCleanup::DeleteRecord) => std::fs::remove_file(path),
        (None, AfterCleanup::KeepRecord) | (Some(_), _) => {
            write_json(path, &EngineRecord { left: removed.failure.clone(), ..record })
        }
    };
    if let Err(error) = updated {
        removed.add_failure(&ContainerError::io("write", path)(error));
    }
    removed
}

fn remove_marked(
    record: &EngineRecord,
    marks: &Marks,
    removed: &mut Removed,
) -> Result<(), ContainerError> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    if real(&record.made_by) != real(&record.engine) {
        return Err(ContainerError::OtherEngine { engine: record.made_by.clone() });
    }
    for label in marks.labels() {
        remove_all(record, &label, removed)?;
    }
    if marks.newest().is_empty() {
        // Another user's image may have the name of the stack as its label, so only report them.
        let filter = format!("label={STACK_LABEL}={}", marks.stack());
        let list = ["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"];
        let names = record.list(&list)?;
        if !names.is_empty() {
            let removal = Engine::at(record.engine.clone(), record.kind).removal();
            let command = record.shown(&with_names(&removal, &names));
            removed.add_failure(&ContainerError::NotRemoved { command });
        }
    }
    Ok(())
}

fn remove_all(
    record: &EngineRecord,
    label: &str,
    removed: &mut Removed,
) -> Result<(), ContainerError> {
    let filter = format!("label={MARK_LABEL}={label}");
    let list = ["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"];
    let names = record.list(&list)?;
    if !names.is_empty() {
        let removal = Engine::at(record.engine.clone(), record.kind).removal();
        // It also fails if a container removes itself meanwhile; the next list decides.
        let refused = run(record.command(&with_names(&removal, &names))).err();
        let listed = wait_until_removed(record, &list);
        let left = match (&listed, &refused) {
            (Ok(left), _) => left.clone(),
            // The engine reported the removal before it stopped answering.
            (Err(_), None) => Vec::new(),
            (Err(_), Some(_)) => names.clone(),
        };
        if !left.is_empty() {
            let command = record.shown(&with_names(&removal, &left));
            removed.add_failure(&match refused {
                Some(source) => ContainerError::Remove { source, command },
                None => ContainerError::NotRemoved { command },
            });
        }
        removed.containers.extend(names.into_iter().filter(|name| !left.contains(name)));
        listed?;
    }
    let networks = ["network", "ls", "--filter", &filter, "--format", "{{.Name}}"];
    for network in record.list(&networks)? {
        let removal = ["network", "rm", &network];
        if let Err(source) = run(record.command(&removal)) {
            let command = record.shown(&removal);
            removed.add_failure(&ContainerError::Remove { source, command });
        }
    }
    Ok(())
}

fn with_names<'a>(args: &[&'a str], names: &'a [String]) -> Vec<&'a str> {
    args.iter().copied().chain(names.iter().map(String::as_str)).collect()
}

/// The containers of a list that the engine has not removed in time.
fn wait_until_removed(record: &EngineRecord, list: &[&str]) -> Result<Vec<String>, ContainerError> {
    let until = Instant::now() + REMOVAL_TIMEOUT;
    loop {
        let left = record.list(list)?;
        if left.is_empty() || Instant::now() > until {
            return Ok(left);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the script of [`record_of`].
    fn remove(path: &Path, mark: &str, after: AfterCleanup) -> Removed {
        remove_with(path, &Marks::test(mark), after, |_| path.with_file_name("engine"))
    }

    #[test]
    fn no_engine_is_asked_without_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        assert_eq!(remove(&path, "s.m", AfterCleanup::DeleteRecord), Removed::default());
    }

    #[test]
    fn record_stays_until_it_is_to_be_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = record_of(folder.path(), "exit 0");
        let record = EngineRecord {
            made_by: folder.path().join("engine"),
            engine: PathBuf::new(),
            kind: EngineKind::Docker,
            variables: Vec::new(),
            left: Some("it slept".to_owned()),
        };
        write_json(&path, &record).unwrap();
        assert_eq!(remove(&path, "s.m", AfterCleanup::KeepRecord), Removed::default());
        let kept = EngineRecord::read(&path, |_| PathBuf::new()).unwrap();
        assert_eq!(kept, Some(EngineRecord { left: None, ..record }));
        assert_eq!(remove(&path, "s.m", AfterCleanup::DeleteRecord), Removed::default());
        assert!(!path.exists());
    }

    #[test]
    fn record_names_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = record_of(folder.path(), "exit 0");
        let planted = folder.path().join("planted");
        let text = format!(
            "{{\"engine\":\"{0}\",\"made_by\":\"{0}\",\"variables\":[]}}",
            planted.display()
        );
        std::fs::write(&path, text).unwrap();
        let record = EngineRecord::read(&path, |_| "found".into()).unwrap().unwrap();
        assert_eq!(record.engine, Path::new("found"));
        let why = remove(&path, "s.m", AfterCleanup::DeleteRecord).failure.unwrap();
        assert!(why.contains("belong to the engine") && path.exists(), "{why}");
    }

    #[test]
    fn record_stays_while_the_engine_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = record_of(folder.path(), "exit 0");
        std::fs::remove_file(path.with_file_name("engine")).unwrap();
        let why = remove(&path, "s.m", AfterCleanup::DeleteRecord).failure.unwrap();
        assert!(why.contains("failed to run"), "{why}");
        assert_eq!(failure(&path), Some(why));
    }

    #[test]
    fn unreadable_record_stays_and_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        std::fs::write(&path, "{\"engine\":\"/bin/tr").unwrap();
        let why = remove(&path, "s.m", AfterCleanup::DeleteRecord).failure.unwrap();
        assert!(why.contains("engine.json`: EOF"), "{why}");
        assert!(why.contains("delete it once `ps --all --filter label="), "{why}");
        assert!(path.exists());
        assert_eq!(failure(&path), Some(why));
    }

    /// A record with this script as the engine.
    fn record_of(folder: &Path, script: &str) -> PathBuf {
        let engine = folder.join("engine");
        std::fs::write(&engine, format!("#!/bin/sh\n{script}\n")).unwrap();
        let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&engine, may_run).unwrap();
        let path = folder.join("engine.json");
        write_json(
            &path,
            &EngineRecord {
                made_by: engine,
                engine: PathBuf::new(),
                kind: EngineKind::Docker,
                variables: Vec::new(),
                left: None,
            },
        )
        .unwrap();
        path
    }

    #[test]
    fn output_larger_than_a_pipe_is_read() {
        let folder = tempfile::tempdir().unwrap();
        // It prints more errors than names, and the names only once.
        let script = "cd \"$(dirname \"$0\")\"\n\
            [ \"$1\" = ps ] && [ ! -e asked ] || exit 0\n\
            : > asked\n\
            head -c 200000 /dev/zero >&2\n\
            for n in $(seq 3000); do echo container-$n-with-a-name-as-long-as-names-are; done";
        let path = record_of(folder.path(), script);
        assert_eq!(remove(&path, "s.m", AfterCleanup::DeleteRecord).containers.len(), 3000);
        assert!(!path.exists());
    }

    #[test]
    fn reported_removal_counts_when_the_engine_stops() {
        let removed_by = |rm: &str| {
            let folder = tempfile::tempdir().unwrap();
            let script = format!(
                "cd \"$(dirname \"$0\")\"\n\
                 case \"$1\" in\n\
                 ps) [ -e asked ] && {{ echo it stopped >&2; exit 1; }}; : > asked; echo a; echo b ;;\n\
                 rm) {rm} ;;\n\
                 esac"
            );
            let path = record_of(folder.path(), &script);
            let removed = remove(&path, "s.m", AfterCleanup::DeleteRecord);
            assert!(path.exists(), "the networks are unknown");
            (removed.containers, removed.failure.unwrap())
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
    fn containers_without_a_known_mark_stay() {
        let folder = tempfile::tempdir().unwrap();
        let script = "case \"$1 $*\" in\n\
            ps*label=xtask.stack=s*) echo foreign ;;\n\
            ps*|network*) ;;\n\
            *) echo \"$*\" >> calls ;;\n\
            esac";
        let path = record_of(folder.path(), script);
        let known = remove(&path, "s.m", AfterCleanup::KeepRecord);
        assert_eq!(known, Removed::default());
        let paths = xtask_control::StackPaths::at(folder.path().join("s"));
        let engine = |_| path.with_file_name("engine");
        let unknown = Marks::of(&paths);
        let script = script.replace("xtask.stack=s", &format!("xtask.stack={}", unknown.stack()));
        let path = record_of(folder.path(), &script);
        let left = remove_with(&path, &unknown, AfterCleanup::DeleteRecord, engine);
        assert!(left.containers.is_empty() && path.exists());
        assert!(left.failure.unwrap().contains("foreign` removes what is left"));
        assert!(!folder.path().join("calls").exists());
    }

    #[test]
    fn objects_left_are_reported_with_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let script = "cd \"$(dirname \"$0\")\"\n\
            case \"$1 $2 $3\" in\n\
            \"ps \"*) [ -e asked ] || printf 'a\\nb\\n'; : > asked ;;\n\
            \"network ls \"*) printf 'one\\ntwo\\nthree\\n' ;;\n\
            \"network rm two\") echo removed >> calls ;;\n\
            \"network rm \"*) echo \"$3 is in use\" >&2; exit 1 ;;\n\
            esac";
        let path = record_of(folder.path(), script);
        let removed = remove(&path, "s.m", AfterCleanup::DeleteRecord);
        assert_eq!(removed.containers, ["a", "b"]);
        let why = removed.failure.unwrap();
        let engine = folder.path().join("engine");
        for network in ["one", "three"] {
            let text = format!("{network} is in use; `{} network rm {network}`", engine.display());
            assert!(why.contains(&text), "{why}");
        }
        assert_eq!(std::fs::read_to_string(folder.path().join("calls")).unwrap(), "removed\n");
        assert_eq!(failure(&path), Some(why));
    }
}
