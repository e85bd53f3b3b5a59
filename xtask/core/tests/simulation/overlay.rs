//! Random workspaces with an overlay, which changes settings and programs and adds a service. Each
//! plan is with or without the overlay.

use xtask_core::plan::{Plan, Program};
use xtask_core::terms::{Condition, Kind};

use crate::graph::{self, Workspace};
use crate::random::Random;
use crate::support::{self, With};

/// Both forms of a workspace, and the form of the last plan.
#[derive(Clone, Debug)]
pub(crate) struct Overlaid {
    plain: Workspace,
    overlaid: Workspace,
    active: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Overlaid,
}

impl Overlaid {
    pub(crate) fn random(random: &mut Random) -> Self {
        let plain = Workspace::random(random);
        let overlaid = overlay(random, &plain);
        Self { plain, overlaid, active: Form::Plain }
    }

    pub(crate) fn edit(&mut self, random: &mut Random) {
        match self.active {
            Form::Plain => self.plain.edit(random),
            Form::Overlaid => self.overlaid.edit(random),
        }
    }

    /// The plan of a random `up`, in one of the two forms.
    pub(crate) fn plan(&mut self, random: &mut Random) -> Plan {
        if random.chance(15) {
            self.active = match self.active {
                Form::Plain => Form::Overlaid,
                Form::Overlaid => Form::Plain,
            };
        }
        match self.active {
            Form::Plain => self.plain.plan(random),
            Form::Overlaid => self.overlaid.plan(random),
        }
    }
}

fn overlay(random: &mut Random, plain: &Workspace) -> Workspace {
    let mut this = plain.clone();
    this.services.insert(0, graph::random_service(random, "extra"));
    for index in 1..this.services.len() {
        if random.chance(30) {
            change(random, &mut this, index);
        }
        if random.chance(20) {
            this.connect(random, index);
        }
    }
    // A service that was a job cannot succeed.
    let jobs = this.services.iter().filter(|service| service.kind == Kind::Job);
    let jobs: Vec<_> = jobs.map(|service| service.name.clone()).collect();
    for edge in this.services.iter_mut().flat_map(|service| &mut service.depends_on) {
        if edge.condition == Condition::Succeeded && !jobs.contains(&edge.on) {
            edge.condition = Condition::Ready;
        }
    }
    this
}

fn change(random: &mut Random, workspace: &mut Workspace, index: usize) {
    let service = &mut workspace.services[index];
    let external = service.program == Program::External;
    match random.below(6) {
        0 if !external => {
            let Program::Artifact { .. } = service.program else {
                *service = service.clone().built();
                return;
            };
            service.program = support::service(&service.name).program;
        }
        1 if !external => {
            service.kind = match service.kind {
                Kind::Job => Kind::Service,
                Kind::Service => Kind::Job,
            };
        }
        2 if !external => {
            service.socket_activation = !service.ports.is_empty() && random.chance(50)
        }
        3 if !external => {
            service.ports.clear();
            (service.default_port, service.url, service.socket_activation) = (None, None, false);
            service.probes = graph::probes(random, service);
        }
        4 => {
            // The service becomes external.
            let program = std::mem::replace(&mut service.program, Program::External);
            let number = graph::fixed_number(random);
            service.ports.clear();
            *service = service.clone().port(Some(number));
            (service.kind, service.socket_activation) = (Kind::Service, false);
            if program == Program::External {
                *service = service.clone().built();
            }
            service.probes = graph::probes(random, service);
        }
        _ => service.args = vec![support::setting("overlaid".into())],
    }
    if service.kind == Kind::Job || service.ports.is_empty() {
        service.health = None;
    }
}
