//! What a process that holds a service's ports is compared with, and how it differs.
//!
//! Of the variables that the plan sets only those count that say where something is:
//! addresses, and places of data. Whether a log is verbose makes no other service of
//! it. What follows from a difference is decided in `adopt`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Stack;
use super::conditions::Standing;
use super::effect::Like;
use super::event::Found;
use super::node::{Id, ProgramState};
use crate::plan::secret::{self, MASK};
use crate::plan::{Piece, Program, Setting, Source};

/// What a process has to be like, to stand in the place of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Likeness {
    program: String,
    path: Option<String>,
    cwd: String,
    arguments: Arguments,
    variables: Vec<Expected>,
}

/// A value that has to be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    /// The variable's name; empty for an argument.
    name: String,
    value: String,
    secret: bool,
}

/// Which arguments a process must have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Arguments {
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

impl Stack {
    /// What a process has to be like right now; none while that is not known.
    pub(crate) fn likeness(&self, id: Id) -> Option<Likeness> {
        if self.is_likeness_coming(id) {
            return None;
        }
        let node = &self.nodes[id];
        let command = self.render(id).ok()?.command?;
        let args = node.spec.args.iter().zip(&command.args);
        let arguments = match node.spec.program {
            Program::Artifact { .. } => Arguments::Among(
                args.filter(|(setting, value)| self.is_place(setting, value))
                    .map(|(setting, value)| Expected {
                        name: String::new(),
                        value: value.clone(),
                        secret: setting.secret,
                    })
                    .collect(),
            ),
            Program::Command { .. } | Program::External | Program::Image { .. } => {
                Arguments::Exactly(command.args.clone())
            }
        };
        let value_of = |name: &str| command.env.iter().find(|(key, _)| key == name);
        let variables = (node.spec.env.iter())
            .filter_map(|(name, setting)| Some((name, setting, &value_of(name)?.1)))
            .filter(|(name, setting, _)| !self.is_own_address(id, name, setting))
            .filter(|(_, setting, value)| {
                setting.source == Source::Injected
                    || setting.overrides.contains(&Source::Injected)
                    || self.is_place(setting, value)
            })
            .map(|(name, setting, value)| Expected {
                name: name.clone(),
                value: value.clone(),
                secret: setting.secret,
            })
            .collect();
        Some(Likeness {
            path: value_of("PATH").map(|(_, value)| value.clone()),
            program: command.program,
            cwd: command.cwd,
            arguments,
            variables,
        })
    }

    /// Whether its program or an address that it is told is still missing.
    pub(super) fn is_likeness_coming(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        let edges = &node.edges;
        let mut named = edges.dependencies.iter().map(|edge| edge.on).chain(edges.uses.clone());
        node.program() != ProgramState::Here
            || named.any(|on| self.address_standing(on) != Standing::Holds)
    }

    /// Whether a variable only tells the service its own address: that it listens there
    /// is seen, however it came to know.
    fn is_own_address(&self, id: Id, name: &str, setting: &Setting) -> bool {
        let own = |piece: &Piece| match piece {
            Piece::Literal(_) => false,
            Piece::Port { service, .. } => *service == self.nodes[id].spec.name,
        };
        setting.source == Source::Injected
            && (name == "HOST" || setting.value.pieces.iter().all(own))
    }

    /// Whether a value says where something is: a port, a path, an address.
    fn is_place(&self, setting: &Setting, value: &str) -> bool {
        let is_port = |piece: &Piece| match piece {
            Piece::Literal(_) => false,
            Piece::Port { .. } => true,
        };
        setting.value.pieces.iter().any(is_port)
            || value.starts_with('/')
            || [":/", "=/"].iter().any(|mark| value.contains(mark))
            || (!self.data.is_empty() && value.contains(&self.data))
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
