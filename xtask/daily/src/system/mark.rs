//! Marks: how a process or container is recognised as part of a stack.
//!
//! Each supervisor draws a random key, and its mark is `STACK.KEY`. The environment of every
//! process that it starts has [`MARK`] with `STACK.KEY:SERVICE:RUN`. Only this user and root can
//! read that environment, and the file that keeps the marks of a stack, so no other account knows a
//! key. The file keeps the marks of earlier supervisors, whose processes and containers may
//! be left.
//!
//! `STACK`, a hash of the folder, is no secret. It finds processes of a stack whose files were
//! deleted. What another user starts can carry any mark, so callers check the owner as well.

use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xtask_control::StackPaths;
use xtask_core::terms::MARK_VARIABLE;

use crate::system::fresh_folder::random_hex;
use crate::system::json_file::write_json;
use crate::system::proc;

/// The variable that marks the processes of a stack.
pub(crate) const MARK: &str = MARK_VARIABLE;

/// The length of a key: too long to guess.
const KEY_BYTES: usize = 16;

/// How many marks of earlier supervisors are kept if no container can be left of them.
const EARLIER: usize = 8;

/// The marks of a stack's supervisors; empty for a stack without files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The short name of the stack.
    stack: String,
    /// Each as `STACK.KEY`, the newest last.
    known: Vec<String>,
}

/// The content of the file with the marks.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    marks: Vec<String>,
}

impl Marks {
    /// The marks that the files of a stack keep.
    pub(crate) fn of(paths: &StackPaths) -> Self {
        let read = std::fs::read(paths.marks()).unwrap_or_default();
        let kept: Kept = serde_json::from_slice(&read).unwrap_or_default();
        Self { stack: paths.short_name(), known: kept.marks }
    }

    /// Draws a mark for a new supervisor, and adds it to the file. The caller holds the stack's
    /// lock.
    ///
    /// # Errors
    /// When the system gives no random bytes, or the file cannot be written.
    pub(crate) fn draw(paths: &StackPaths) -> io::Result<Self> {
        let key = random_hex::<KEY_BYTES>()?;
        let mut marks = Self::of(paths);
        if !paths.engine_record().exists() {
            marks.known.drain(..marks.known.len().saturating_sub(EARLIER));
        }
        marks.known.push(format!("{}.{key}", marks.stack));
        write_json(&paths.marks(), &Kept { marks: marks.known.clone() })?;
        Ok(marks)
    }

    /// The short name of the stack.
    pub(crate) fn stack(&self) -> &str {
        &self.stack
    }

    /// The mark of the newest supervisor; empty if none is known.
    pub(crate) fn newest(&self) -> &str {
        self.known.last().map_or("", String::as_str)
    }

    /// The value of the label of containers of the newest supervisor; empty if none is known.
    pub(crate) fn label(&self) -> String {
        self.known.last().map(|mark| label(mark)).unwrap_or_default()
    }

    /// The values of the labels of the containers of all supervisors, the newest last.
    pub(crate) fn labels(&self) -> impl Iterator<Item = String> {
        self.known.iter().map(|mark| label(mark))
    }

    /// Whether the environment of a process has one of these marks. Without a known mark the name
    /// of the stack decides.
    pub(crate) fn include(&self, found: &Mark) -> bool {
        match &*self.known {
            [] => found.is_stack(&self.stack),
            known => known.iter().any(|mark| found.is_of(mark)),
        }
    }

    #[cfg(test)]
    pub(crate) fn test(mark: &str) -> Self {
        let (stack, _) = mark.split_once('.').expect("STACK.KEY");
        Self { stack: stack.to_owned(), known: vec![mark.to_owned()] }
    }
}

/// The label of the containers of the supervisor with this mark. Labels are arguments of the
/// engine, which every account can read, so this does not tell the key.
fn label(mark: &str) -> String {
    Sha256::digest(mark).iter().take(KEY_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// The value of [`MARK`] in the environment that a process was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Absent,
    /// The process is in its exec, and its environment cannot be read at this moment.
    Unreadable,
    Value(Vec<u8>),
}

impl Mark {
    /// The mark of what a run starts, in the stack with this mark.
    pub(crate) fn of_run(mark: &str, service: &str, run: u64) -> Self {
        Self::Value(format!("{mark}:{service}:{run}").into_bytes())
    }

    /// Whether it names this run, the value of a leader's mark.
    pub(crate) fn is_run(&self, run: &Self) -> bool {
        matches!(self, Self::Value(_)) && self == run
    }

    /// Whether it is this mark of a supervisor, or that of a run of it.
    pub(crate) fn is_of(&self, mark: &str) -> bool {
        self.begins(mark, b":")
    }

    /// Whether it names this stack, whatever its key. Another user can forge that.
    pub(crate) fn is_stack(&self, stack: &str) -> bool {
        self.begins(stack, b".:")
    }

    fn begins(&self, with: &str, ends: &[u8]) -> bool {
        let Self::Value(value) = self else { return false };
        let rest = value.strip_prefix(with.as_bytes());
        !with.is_empty()
            && rest.is_some_and(|rest| rest.first().is_none_or(|byte| ends.contains(byte)))
    }
}

/// Looks for the mark in the environment that a process was started with.
pub(crate) fn mark_of(pid: i32) -> Mark {
    let Some(variables) = proc::environment(pid) else { return Mark::Absent };
    let mut is_empty = true;
    for variable in variables {
        is_empty = false;
        if let Some(value) = proc::value_of(&variable, MARK) {
            return Mark::Value(value.to_vec());
        }
    }
    // Kernel threads and zombies have no program.
    if is_empty && proc::arguments(pid).is_empty() && proc::executable(pid).is_some() {
        Mark::Unreadable
    } else {
        Mark::Absent
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn each_supervisor_draws_a_private_mark() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at(folder.path().join("dev"));
        paths.create().unwrap();
        let first = Marks::draw(&paths).unwrap();
        let second = Marks::draw(&paths).unwrap();
        assert_ne!(first.newest(), second.newest());
        assert_eq!(second.known, [first.newest(), second.newest()]);
        assert!(!first.newest().contains(&first.label()));
        assert!(second.labels().eq([first.label(), second.label()]));
        assert_eq!(Marks::of(&paths), second);
        let key = first.newest().strip_prefix(&format!("{}.", paths.short_name())).unwrap();
        assert_eq!(key.len(), 2 * KEY_BYTES);
        let mode = paths.marks().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn earlier_marks_stay_while_containers_may_be_left() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at(folder.path().join("dev"));
        paths.create().unwrap();
        std::fs::write(paths.engine_record(), "{}").unwrap();
        for number in 1..=20 {
            assert_eq!(Marks::draw(&paths).unwrap().known.len(), number);
        }
        std::fs::remove_file(paths.engine_record()).unwrap();
        assert_eq!(Marks::draw(&paths).unwrap().known.len(), EARLIER + 1);
    }

    #[test]
    fn name_of_the_stack_counts_only_without_known_marks() {
        let value = |text: &str| Mark::Value(text.as_bytes().to_vec());
        let known = Marks::test("stack.key");
        for (text, known_includes, unknown_includes) in [
            ("stack.key", true, true),
            ("stack.key:web:1", true, true),
            ("stack.key2:web:1", false, true),
            ("stack:web:1", false, true),
            ("stack.:web:1", false, true),
            ("stack2.key:web:1", false, false),
            ("", false, false),
        ] {
            let unknown = Marks { known: Vec::new(), ..known.clone() };
            assert_eq!(known.include(&value(text)), known_includes, "{text}");
            assert_eq!(unknown.include(&value(text)), unknown_includes, "{text}");
        }
        assert!(!known.include(&Mark::Absent) && !known.include(&Mark::Unreadable));
    }
}
