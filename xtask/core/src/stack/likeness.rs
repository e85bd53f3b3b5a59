//! What a process that holds a service's ports is compared with, and how it differs.
//!
//! What follows from a difference is decided in `adopt`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::effect::Like;
use super::event::Found;
use crate::terms::secret::{self, MASK};

/// What a process has to be like, to stand in the place of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Likeness {
    /// Its program.
    pub(super) program: String,
    /// Where programs are looked for.
    pub(super) path: Option<String>,
    /// The folder that it runs in.
    pub(super) cwd: String,
    /// Its arguments.
    pub(super) arguments: Arguments,
    /// Its variables.
    pub(super) variables: Vec<Expected>,
}

/// A value that has to be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The variable's name; empty for an argument.
    pub(super) name: String,
    /// The value.
    pub(super) value: String,
    /// Whether it is not to be shown.
    pub(super) secret: bool,
}

/// Which arguments a process must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// Exactly these: they make the program what it is, as those of an interpreter do.
    Exactly(Vec<String>),
    /// These among others: those that say where something is.
    Among(Vec<Expected>),
}

/// How a process stands to a service's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It is the program.
    Same,
    /// It is another build of it.
    OtherBuild,
    /// It is something else.
    Stranger,
}

impl Likeness {
    /// What the world has to look for.
    pub(crate) fn question(&self) -> Like {
        Like {
            program: self.program.clone(),
            path: self.path.clone(),
            cwd: self.cwd.clone(),
            variables: self.variables.iter().map(|expected| expected.name.clone()).collect(),
        }
    }

    /// How a process stands to the program, which cargo linked at `linked`.
    pub(crate) fn relation(&self, found: &Found, linked: Option<&str>) -> Relation {
        let is_called_so = match &self.arguments {
            Arguments::Exactly(args) => found.args == *args,
            Arguments::Among(_) => true,
        };
        if !is_called_so {
            Relation::Stranger
        } else if found.same {
            Relation::Same
        } else if self.is_build_of_it(found, linked) {
            Relation::OtherBuild
        } else {
            Relation::Stranger
        }
    }

    /// A program of that name where this program's builds lie. The name alone is not
    /// enough: any program of the machine may have it.
    fn is_build_of_it(&self, found: &Found, linked: Option<&str>) -> bool {
        let path = found.holder.program.as_str();
        if file_name(path) != file_name(linked.unwrap_or(&self.program)) {
            return false;
        }
        match &self.arguments {
            Arguments::Exactly(_) => found.deleted,
            Arguments::Among(_) => {
                let folders = [linked, Some(self.program.as_str())];
                folders.into_iter().flatten().filter_map(two_above).any(|folder| {
                    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
                })
            }
        }
    }

    /// In what a process of the same program differs, in words; nothing if it can stand
    /// in the place of a run.
    pub(crate) fn differences(&self, found: &Found) -> Vec<String> {
        let mut out = Vec::new();
        for port in &found.elsewhere {
            out.push(format!("it does not listen on port {port}"));
        }
        if let Arguments::Among(args) = &self.arguments {
            let missing = args.iter().filter(|arg| !found.args.contains(&arg.value));
            out.extend(missing.map(|arg| format!("it has no argument `{}`", shown(arg))));
        }
        let Some(variables) = &found.variables else {
            if !self.variables.is_empty() {
                out.push(String::from("its environment cannot be read"));
            }
            return out;
        };
        for expected in &self.variables {
            let name = &expected.name;
            match variables.get(name) {
                Some(value) if *value == expected.value => {}
                Some(value) => {
                    let hidden = expected.secret || secret::variable(name, value);
                    let value = if hidden { MASK } else { value };
                    out.push(format!("`{name}` is `{value}` instead of `{}`", shown(expected)));
                }
                None => out.push(format!("`{name}` is not set to `{}`", shown(expected))),
            }
        }
        out
    }
}

fn shown(expected: &Expected) -> &str {
    if expected.secret { MASK } else { &expected.value }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The folder two above a file: of `/target/debug/tool` it is `/target`.
fn two_above(path: &str) -> Option<&str> {
    let (folder, _) = path.rsplit_once('/')?;
    let (above, _) = folder.rsplit_once('/')?;
    (!above.is_empty()).then_some(above)
}
