//! What a process must match to run in the place of a service's run, and how it differs.
//!
//! `adoption` decides what follows from a difference. Of the variables in the plan, only
//! addresses and data locations count: a verbose log does not make another service.

use crate::sorted::SortedMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::plan::{Piece, Program, Setting, Source};
use crate::stack::Stack;
use crate::stack::build::ProgramState;
use crate::stack::conditions::ConditionState;
use crate::stack::effect::ExpectedProgram;
use crate::stack::event::InspectedHolder;
use crate::stack::node::Id;
use crate::terms::Name;
use crate::terms::secret::{self, MASK};

/// What a process must match to act as the run of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedProcess {
    pub(super) program: String,
    /// The `PATH` in which the program is looked up.
    pub(super) path: Option<String>,
    pub(super) cwd: String,
    pub(super) arguments: Arguments,
    pub(super) variables: Vec<Expected>,
}

/// A value that must be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The name of the variable; empty for an argument.
    pub(super) name: String,
    pub(super) value: String,
    /// Whether messages mask the value.
    pub(super) secret: bool,
    /// The address that an injected variable holds.
    pub(super) address: Option<Address>,
}

/// The part of another service's address that a variable holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    of: Name,
    /// The index of its port; none for a host.
    port: Option<usize>,
    /// Whether the variable holds the host as well.
    whole: bool,
    /// Whether host and port say everything that the variable says.
    plain: bool,
}

/// Which arguments a process must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// Exactly these, because they define the program, as those of an interpreter do.
    Exactly(Vec<String>),
    /// At least these, because they locate something.
    Among(Vec<Expected>),
}

/// How a process relates to the program of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It runs the program.
    Same,
    /// It runs another build of the program.
    OtherBuild,
    /// It runs another program.
    Stranger,
}

impl ExpectedProcess {
    /// The question for the driver, about a start in this context.
    pub(crate) fn question(&self, context: u64) -> ExpectedProgram {
        ExpectedProgram {
            program: self.program.clone(),
            path: self.path.clone(),
            context,
            cwd: self.cwd.clone(),
            variables: self.variables.iter().map(|expected| expected.name.clone()).collect(),
        }
    }

    /// How a process relates to the program, which cargo linked at `linked`.
    pub(crate) fn relation(&self, found: &InspectedHolder, linked: Option<&str>) -> Relation {
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

    /// Whether it runs a program of that name from a folder with builds of this program. The
    /// name alone is not enough: any program can have it.
    fn is_build_of_it(&self, found: &InspectedHolder, linked: Option<&str>) -> bool {
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

    /// The differences of a process that runs the same program. It can be adopted if there are
    /// none.
    pub(crate) fn differences(&self, found: &InspectedHolder) -> Vec<String> {
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
                None if self.is_known_otherwise(expected, variables) => {}
                None => out.push(format!("`{name}` is not set to `{}`", shown(expected))),
            }
        }
        out
    }
}

impl ExpectedProcess {
    /// Whether a missing variable only repeats an address that others hold. A program reads either
    /// the whole address, or host and port.
    fn is_known_otherwise(
        &self,
        missing: &Expected,
        variables: &SortedMap<String, String>,
    ) -> bool {
        let Some(wanted) = &missing.address else { return false };
        let is_right = |other: &Expected| variables.get(&other.name) == Some(&other.value);
        let known = |matches: &dyn Fn(&Address) -> bool| {
            let others = self.variables.iter().filter(|other| is_right(other));
            others.filter_map(|other| other.address.as_ref()).any(matches)
        };
        let same_service = |other: &Address| other.of == wanted.of;
        let same_port = |other: &Address| same_service(other) && other.port == wanted.port;
        if wanted.whole {
            let parts = known(&|other| same_service(other) && other.port.is_none())
                && known(&|other| same_port(other) && !other.whole);
            return known(&|other| same_port(other) && other.whole) || wanted.plain && parts;
        }
        // A difference in the whole address is reported there.
        let whole = self.variables.iter().filter_map(|other| other.address.as_ref());
        let holds_it = |other: &Address| wanted.port.is_none() || same_port(other);
        let mut whole = whole.filter(|other| other.whole && same_service(other));
        whole.any(holds_it) || wanted.port.is_some() && known(&same_port)
    }
}

fn shown(expected: &Expected) -> &str {
    if expected.secret { MASK } else { &expected.value }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The folder two levels above a file: `/target` for `/target/debug/tool`.
fn two_above(path: &str) -> Option<&str> {
    let (folder, _) = path.rsplit_once('/')?;
    let (above, _) = folder.rsplit_once('/')?;
    (!above.is_empty()).then_some(above)
}

impl Stack {
    /// What a process must match right now; none while that is unknown.
    pub(crate) fn expected_process(&self, id: Id) -> Option<ExpectedProcess> {
        if self.is_expectation_pending(id) {
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
                        address: None,
                    })
                    .collect(),
            ),
            Program::Command { .. } | Program::External | Program::Image { .. } => {
                Arguments::Exactly(command.args.clone())
            }
        };
        let value_of = |name: &str| {
            let setting = node.spec.env.get(name).filter(|setting| setting.declared.is_some());
            // The shell of the last command decides what a run would get.
            let by_shell = setting.map(|setting| setting.value.to_string());
            let set = command.env.iter().find(|(key, _)| key == name);
            by_shell.or_else(|| set.map(|(_, value)| value.clone()))
        };
        let variables = (node.spec.env.iter())
            .filter_map(|(name, setting)| Some((name, setting, value_of(name)?)))
            .filter(|(name, setting, _)| !self.is_own_address(id, name, setting))
            .filter(|(_, setting, value)| {
                setting.source == Source::Injected
                    || setting.overrides.contains(&Source::Injected)
                    || self.is_place(setting, value)
            })
            .map(|(name, setting, value)| Expected {
                name: name.clone(),
                value,
                secret: setting.secret,
                address: self.address_of(id, name, setting),
            })
            .collect();
        Some(ExpectedProcess {
            path: value_of("PATH"),
            program: command.program,
            cwd: command.cwd,
            arguments,
            variables,
        })
    }

    /// Whether its program or an address in its settings is still unknown.
    pub(super) fn is_expectation_pending(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        node.program() != ProgramState::Available
            || node.edges.known().any(|on| self.address_state(on) != ConditionState::Holds)
    }

    /// The address of another service that an injected variable holds.
    fn address_of(&self, id: Id, name: &str, setting: &Setting) -> Option<Address> {
        if setting.source != Source::Injected {
            return None;
        }
        let pieces = &setting.value.pieces;
        let port = pieces.iter().find_map(|piece| match piece {
            Piece::Port { service, port } => Some((service.clone(), *port)),
            Piece::Literal(_) => None,
        });
        match port {
            Some((of, port)) => {
                let plain = matches!(pieces.last(), Some(Piece::Port { .. }));
                Some(Address { of, port: Some(port), whole: pieces.len() > 1, plain })
            }
            None => {
                let is_host = |of: &&Name| name == format!("{}_HOST", of.variable_prefix());
                let of = self.nodes[id].spec.edges().find(is_host)?.clone();
                Some(Address { of, port: None, whole: false, plain: true })
            }
        }
    }

    /// Whether a variable only contains the service's own address. The inspection checks that it
    /// listens there.
    fn is_own_address(&self, id: Id, name: &str, setting: &Setting) -> bool {
        let own = |piece: &Piece| match piece {
            Piece::Literal(_) => false,
            Piece::Port { service, .. } => *service == self.nodes[id].spec.name,
        };
        setting.source == Source::Injected
            && (name == "HOST" || setting.value.pieces.iter().all(own))
    }

    /// Whether a value locates something: a port, a path or an address.
    fn is_place(&self, setting: &Setting, value: &str) -> bool {
        let is_port = |piece: &Piece| matches!(piece, Piece::Port { .. });
        setting.value.pieces.iter().any(is_port)
            || value.starts_with('/')
            || [":/", "=/"].iter().any(|mark| value.contains(mark))
            || (!self.identity.data.is_empty() && value.contains(&self.identity.data))
    }
}
