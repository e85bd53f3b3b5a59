//! What a container is given: its image, its ports, what it sees of this machine and how
//! it reaches the others.
//!
//! A container is a run like any other: nothing here decides when it starts or stops.

use alloc::string::String;
use alloc::vec::Vec;

use super::Stack;
use super::effect::{Container, ImageWanted, Neighbour, Origin, Published};
use super::node::Id;
use crate::plan::Program;
use crate::terms::Placement;
use crate::terms::host::{callable, is_loopback};

/// From where ports are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// From this machine: the numbers that it listens on.
    Outside,
    /// From a container of the stack: the numbers that the others listen on themselves.
    Inside,
}

impl View {
    /// What a service sees that runs there.
    pub(super) fn of(placement: Placement) -> Self {
        match placement {
            Placement::Process => Self::Outside,
            Placement::Container => Self::Inside,
        }
    }
}

impl Stack {
    /// The image to make of a service's program, if it runs in one.
    pub(super) fn image_wanted(&self, id: Id) -> Option<ImageWanted> {
        let spec = &self.nodes[id].spec;
        match spec.placement {
            Placement::Process => None,
            Placement::Container => Some(ImageWanted {
                workspace: self.workspace.clone(),
                base: self.base_image.clone(),
                self_probe: spec.self_probe.clone(),
            }),
        }
    }

    /// The container of a service, if it runs in one.
    pub(super) fn container(&self, id: Id) -> Result<Option<Container>, String> {
        let node = &self.nodes[id];
        if node.spec.placement == Placement::Process {
            return Ok(None);
        }
        let (image, origin) = match &node.spec.program {
            Program::Image { image, .. } => (image.clone(), Origin::Foreign),
            Program::Artifact { .. } | Program::Command { .. } | Program::External => {
                let artifact = node.accepted.as_ref();
                let image = artifact.and_then(|artifact| artifact.image.clone());
                (image.ok_or("its image is not there")?, Origin::Built)
            }
        };
        let numbers = self.numbers(id).unwrap_or_default();
        let ports = node.spec.ports.iter().zip(&numbers).enumerate();
        let ports = ports.filter_map(|(index, (port, &outside))| {
            let inside = self.number_inside(id, index)?;
            Some(Published { host: port.host.clone(), outside, inside })
        });
        Ok(Some(Container {
            image,
            origin,
            ports: ports.collect(),
            volumes: node.spec.volumes.clone(),
            neighbours: self.neighbours(id),
        }))
    }

    /// The number of a port where the service itself runs.
    pub(super) fn number_inside(&self, id: Id, port: usize) -> Option<u16> {
        match &self.nodes[id].spec.program {
            Program::Image { ports, .. } => ports.get(port).copied(),
            Program::Artifact { .. } | Program::Command { .. } | Program::External => {
                self.numbers_for_others(id)?.get(port).copied()
            }
        }
    }

    /// The services that a service calls where this machine listens for them.
    fn neighbours(&self, id: Id) -> Vec<Neighbour> {
        let edges = &self.nodes[id].edges;
        let called =
            edges.dependencies.iter().map(|edge| edge.on).chain(edges.uses.iter().copied());
        let mut out: Vec<Neighbour> = called.filter_map(|on| self.neighbour(on)).collect();
        out.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    fn neighbour(&self, id: Id) -> Option<Neighbour> {
        let node = &self.nodes[id];
        let here = |host: &str| !node.is_external() || is_loopback(host);
        let ports = node.spec.ports.iter().zip(self.numbers_for_others(id)?);
        let ports: Vec<(String, u16)> = ports
            .filter(|(port, _)| here(&port.host))
            .map(|(port, number)| (callable(&port.host), number))
            .collect();
        let here = node.spec.placement == Placement::Process || node.spec.socket_activation;
        let contained = node.spec.placement == Placement::Container;
        let name = node.spec.name.clone();
        (here && !ports.is_empty()).then_some(Neighbour { name, ports, contained })
    }
}
