//! What a process has to be like to stand in the place of a service's run.
//!
//! Of the variables that the plan sets only those count that say where something is:
//! addresses, and places of data. Whether a log is verbose makes no other service of it.

use alloc::string::String;

use super::Stack;
use super::conditions::Standing;
use super::likeness::{Arguments, Expected, Likeness};
use super::node::{Id, ProgramState};
use crate::plan::{Piece, Program, Setting, Source};

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
