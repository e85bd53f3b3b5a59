//! Parts of a plan for `verify-deps`: one service with what it declares, and the same with
//! one dependency absent.
//!
//! A part is started like any plan; the caller judges the result.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Piece, Plan, Probe, Program, Service, Text, Use};
use crate::terms::{Kind, Name, Restart};

/// Why a trial without a dependency would show nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inseparable {
    /// The dependent is ready as soon as it runs, which shows nothing.
    ReadyAtOnce,
    /// The dependency has no address, and something else needs it too.
    Shared,
}

impl Plan {
    /// The service with what it depends on and uses, directly or not.
    #[must_use]
    pub fn alone(&self, service: &Name) -> Plan {
        let edges = |name: &Name| self.service(name).into_iter().flat_map(Service::edges);
        let closure = crate::graph::closure([service], edges);
        let mut part = self.clone();
        part.build = None;
        part.declared = None;
        part.wanted = Vec::from([service.clone()]);
        part.services.retain(|service| closure.contains(&service.name));
        part
    }

    /// As [`Plan::alone`], but the service does not wait for `dependency`, and calls to the
    /// dependency's address are refused. `port` returns the number of a refusing port for a
    /// host. The service is not restarted, and has at most `limit` to become ready.
    ///
    /// # Errors
    /// When the trial would show nothing.
    pub fn alone_without(
        &self,
        service: &Name,
        dependency: &Name,
        limit: Duration,
        mut port: impl FnMut(&str) -> u16,
    ) -> Result<Plan, Inseparable> {
        let mut whole = self.alone(service);
        let absent = Name::from(format!("{dependency}-absent").as_str());
        let mut absent_service = self.service(dependency).cloned();
        if let Some(gone) = &mut absent_service {
            make_absent(gone, &absent);
            for declared in &mut gone.ports {
                declared.number = Some(port(&declared.host));
            }
        }
        for own in whole.services.iter_mut().filter(|own| own.name == *service) {
            if own.probes.is_empty() && own.kind == Kind::Service {
                return Err(Inseparable::ReadyAtOnce);
            }
            own.restart = Restart::No;
            own.start_timeout = own.start_timeout.min(limit);
            let edge = own.depends_on.iter().find(|edge| edge.on == *dependency);
            let declared = edge.map_or(own.declared.clone(), |edge| edge.declared.clone());
            own.depends_on.retain(|edge| edge.on != *dependency);
            own.uses.retain(|edge| edge.of != *dependency);
            own.uses.push(Use { of: absent.clone(), declared, relaxed: false });
            for text in texts(own) {
                readdress(text, dependency, &absent);
            }
        }
        let has_ports = absent_service.as_ref().is_some_and(|gone| !gone.ports.is_empty());
        whole.services.splice(0..0, absent_service);
        let part = whole.alone(service);
        match part.service(dependency) {
            Some(_) if !has_ports => Err(Inseparable::Shared),
            Some(_) | None => Ok(part),
        }
    }
}

/// Turns a service into an address that refuses calls, without a process or a condition.
fn make_absent(service: &mut Service, name: &Name) {
    let own = core::mem::replace(&mut service.name, name.clone());
    if let Some(url) = &mut service.url {
        readdress(url, &own, name);
    }
    service.kind = Kind::Service;
    service.program = Program::External;
    service.socket_activation = false;
    service.probes.clear();
    service.depends_on.clear();
    service.uses.clear();
    service.args.clear();
    service.env.clear();
}

/// Every text of a service that may contain another's port.
fn texts(service: &mut Service) -> impl Iterator<Item = &mut Text> {
    let program = match &mut service.program {
        Program::Command { program } => Some(&mut program.value),
        Program::Artifact { .. } | Program::External | Program::Image { .. } => None,
    };
    let probes = service.probes.iter_mut().filter_map(|probe| match probe {
        Probe::Command { command } => Some(command),
        Probe::Notify | Probe::Http { .. } | Probe::Tcp { .. } | Probe::Log { .. } => None,
    });
    let settings = service.args.iter_mut().chain(service.env.values_mut());
    (program.into_iter().chain(&mut service.url))
        .chain(settings.map(|setting| &mut setting.value))
        .chain(probes.flatten())
}

/// Replaces the ports of one service in a text by those of another.
fn readdress(text: &mut Text, from: &Name, to: &Name) {
    for piece in &mut text.pieces {
        match piece {
            Piece::Port { service, .. } if service == from => *service = to.clone(),
            Piece::Port { .. } | Piece::Literal(_) => {}
        }
    }
}
