//! What tests do to a run: it is killed, stands still, or goes on.
//!
//! The run keeps its phase, as it would if nobody had asked: what follows comes as the
//! same events as after a real fault.

use alloc::vec::Vec;

use super::effect::{Effect, Report, Signal};
use super::event::Fault;
use super::{Stack, node};
use crate::terms::Name;

impl Stack {
    pub(super) fn fault(&mut self, service: &Name, fault: Fault, effects: &mut Vec<Effect>) {
        let Some(id) = self.known(service, "a fault", effects) else { return };
        let node = &mut self.nodes[id];
        if !can_be_signalled(node) {
            return;
        }
        let signal = match fault {
            Fault::Kill => Signal::Kill,
            Fault::Pause => Signal::Pause,
            Fault::Resume => Signal::Resume,
        };
        node.shown.fault = match (node.shown.fault, fault) {
            // It ends, whatever is asked of it meanwhile.
            (Some(Fault::Kill), _) | (_, Fault::Kill) => Some(Fault::Kill),
            (_, Fault::Pause) => Some(Fault::Pause),
            (_, Fault::Resume) => None,
        };
        let (service, run) = (node.spec.name.clone(), node.run);
        effects.push(Effect::Report(Report::Fault { service: service.clone(), run, fault }));
        effects.push(Effect::Signal { service, run, signal });
        self.enqueue(id);
    }
}

/// A run that ends has its own signals coming, which no fault may get between; what was not
/// started here gets none.
fn can_be_signalled(node: &node::Node) -> bool {
    node.is_running() && node.is_alive() && node.pid().is_some()
}
