//! Makes a plan from the manifests, or lists all problems.
//!
//! The core decides. This file gives it the files that it asks for, and checks regular
//! expressions.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use xtask_core::sorted::{SortedMap, SortedSet};

use rustix::fs::OFlags;

use xtask_control::inherited::{is_cargo_variable, is_service_manager_variable};
use xtask_core::manifest;
use xtask_core::plan::{self, Planned, Programs, Request, Unreadable};
use xtask_core::problem::{Code, Problem, Severity};

use crate::workspace::{WorkspaceFiles, glob};

/// The longest env-file, in bytes.
const LONGEST_FILE_BYTES: u64 = 1024 * 1024;

#[derive(Clone, Copy)]
pub enum Scope<'a> {
    Request,
    /// All declared services, under every overlay, and their programs on this machine.
    Everything {
        programs: Programs<'a>,
    },
}

/// Plans a request. The outcome includes the problems `found` before.
pub fn plan(
    files: &WorkspaceFiles,
    found: Vec<Problem>,
    request: &Request,
    scope: Scope<'_>,
) -> Planned {
    let mut problems = found;
    let (declarations, mut read) = manifest::read(&files.workspace);
    problems.append(&mut read);
    problems.append(&mut plan::check_patterns(&declarations, &|pattern| {
        regex_lite::Regex::new(pattern).err().map(|error| last_line(&error.to_string()))
    }));
    problems.append(&mut plan::check_globs(&declarations, &glob::mistake));
    let mut outcome = match scope {
        Scope::Request => plan::make(&declarations, request, &read_text),
        Scope::Everything { programs } => plan::check(&declarations, request, &read_text, programs),
    };
    problems.append(&mut outcome.problems);
    without_consequences(&mut problems);
    outcome.problems = plan::tidy(problems);
    if outcome.problems.iter().any(|problem| problem.severity == Severity::Error) {
        outcome.plan = None;
    }
    outcome
}

/// Reads a regular text file of at most [`LONGEST_FILE_BYTES`].
///
/// A pipe or device is refused before the first read, which could block or never end.
fn read_text(path: &str) -> Result<String, Unreadable> {
    let system = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        _ => Unreadable::System(error.to_string()),
    };
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::File::options().read(true).custom_flags(flags).open(path).map_err(system)?;
    if !file.metadata().map_err(system)?.is_file() {
        return Err(Unreadable::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(system)?;
    if bytes.len() as u64 > LONGEST_FILE_BYTES {
        return Err(Unreadable::TooLong(LONGEST_FILE_BYTES));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Unreadable::Encoding(Some("UTF-16")));
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::Encoding(None))
}

/// Drops the other problems of files that are not TOML, because their values are
/// incomplete.
fn without_consequences(problems: &mut Vec<Problem>) {
    let broken: SortedSet<String> = problems
        .iter()
        .filter(|problem| problem.code == Code::Syntax)
        .flat_map(|problem| problem.labels.iter().map(|label| label.span.file.clone()))
        .collect();
    problems.retain(|problem| {
        let first = problem.labels.first();
        problem.code == Code::Syntax || first.is_none_or(|l| !broken.contains(&l.span.file))
    });
}

/// The caller's environment, as far as it is UTF-8, without the variables that cargo or an
/// outer supervisor set for this program.
pub(crate) fn shell() -> SortedMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !is_cargo_variable(name) && !is_service_manager_variable(name))
        .collect()
}

/// The last line of a message that shows the place of the error first.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or(text).trim();
    line.strip_prefix("error: ").unwrap_or(line).to_string()
}
