//! What people ask of a running stack: take down, restart, shut down.
//!
//! It only changes what is wanted; `settle` does the rest, in order.

use alloc::string::String;
use alloc::vec::Vec;

use super::node::{Id, Phase, Rest};
use super::{Effect, Ending, Stack, unexpected};
use crate::terms::Name;

impl Stack {
    pub(super) fn take_down(&mut self, services: &[Name], only: bool, effects: &mut Vec<Effect>) {
        let mut open: Vec<Id> = Vec::new();
        for name in services {
            open.extend(self.known(name, "`take-down`", effects));
        }
        let mut seen = alloc::collections::BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            self.unwant(id);
            if !only {
                open.extend(self.nodes[id].edges.dependents.iter().map(|(id, _)| *id));
            }
        }
    }

    fn unwant(&mut self, id: Id) {
        let node = &mut self.nodes[id];
        node.wanted = false;
        node.series.reset();
        node.set_serving(false);
        node.evictions = 0;
        self.enqueue(id);
    }

    /// A new run for each; with `evict` whoever stands in its place makes room.
    pub(super) fn restart(&mut self, services: &[Name], evict: bool, effects: &mut Vec<Effect>) {
        if self.ending != Ending::No {
            unexpected(effects, String::from("`restart` while the stack ends"));
            return;
        }
        for name in services {
            let Some(id) = self.known(name, "`restart`", effects) else { continue };
            let node = &mut self.nodes[id];
            node.wanted = true;
            node.set_serving(true);
            self.enqueue(id);
            self.forget_bind_failure(id);
            self.allow_evictions(id, evict);
            // What was not started here is not ours to start again.
            if evict || !self.nodes[id].is_adopted() {
                self.replace(id);
            }
        }
    }

    /// Wants a new run in place of whatever there is, and restarts who asked to be
    /// restarted with it.
    pub(super) fn replace(&mut self, id: Id) {
        let node = &mut self.nodes[id];
        node.series.reset();
        match &mut node.phase {
            Phase::Rest(rest) => *rest = Rest::Idle,
            Phase::Starting(_) | Phase::Ready(_) => node.replace = true,
            Phase::Stopping(stopping) => stopping.then = Rest::Idle,
        }
        self.enqueue(id);
        self.replace_dependents(id);
    }

    /// Marks the running dependents whose edge says so, and theirs; also those that are
    /// being taken down, who may be wanted again before they are told.
    pub(super) fn replace_dependents(&mut self, id: Id) {
        let mut open = alloc::vec![id];
        while let Some(id) = open.pop() {
            for (dependent, restart) in self.nodes[id].edges.dependents.clone() {
                let node = &mut self.nodes[dependent];
                let ours = node.is_running() && !node.is_adopted();
                if restart && !node.replace && ours {
                    node.replace = true;
                    open.push(dependent);
                    self.enqueue(dependent);
                }
            }
        }
    }

    pub(super) fn shut_down(&mut self, how: Ending) {
        // Killing is not taken back by asking for order again.
        if self.ending != Ending::Kill {
            self.ending = how;
        }
        for id in 0..self.nodes.len() {
            self.unwant(id);
        }
    }
}
