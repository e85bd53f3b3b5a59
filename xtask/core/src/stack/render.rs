//! What would be started now: command, probes and container with every address filled in.
//!
//! Rendering starts nothing and decides nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Stack;
use super::effect::{
    Command, Container, ImageOrigin, ImageWanted, Neighbour, PreparedProbe, Published, RunAs,
};
use super::node::Id;
use super::phase::{Launched, RunOrigin};
use crate::plan::{Probe, Program, Text};
use crate::terms::host::{callable, is_loopback};
use crate::terms::{Name, Placement};

/// What is missing to render a service right now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RenderError {
    #[error("its program is not available")]
    Program,
    #[error("its image is not available")]
    Image,
    #[error("the address of `{0}` is not known")]
    Address(Name),
    #[error("a probe names port {0}, which does not exist")]
    Port(usize),
}

/// The side from which a port is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// From this machine: the number that is open here.
    Outside,
    /// From a container of the stack: the number that the other service itself listens on.
    Inside,
}

impl View {
    /// The side on which a service runs.
    pub(super) fn of(placement: Placement) -> Self {
        match placement {
            Placement::Process => Self::Outside,
            Placement::Container => Self::Inside,
        }
    }
}

impl Stack {
    pub(super) fn prepare(&self, id: Id) -> Result<(Launched, Vec<PreparedProbe>), RenderError> {
        let launched = self.render(id)?;
        let node = &self.nodes[id];
        if node.is_job() {
            return Ok((launched, Vec::new()));
        }
        let probes = node.spec.probes.iter().enumerate();
        let probes = probes.map(|(index, probe)| self.prepare_probe(id, index, probe));
        Ok((launched, probes.collect::<Result<_, _>>()?))
    }

    pub(super) fn prepare_probe(
        &self,
        id: Id,
        index: usize,
        probe: &Probe,
    ) -> Result<PreparedProbe, RenderError> {
        let view = View::of(self.nodes[id].spec.placement);
        let (port, command) = match probe {
            Probe::Notify | Probe::Log { .. } => (None, Vec::new()),
            Probe::Http { port, .. } | Probe::Tcp { port } => (Some(*port), Vec::new()),
            Probe::Command { command } => {
                let words = command.iter().map(|text| self.text(view, text));
                (None, words.collect::<Result<_, _>>()?)
            }
        };
        let address = port.map(|port| self.probe_address(id, port)).transpose()?;
        let queued = matches!(probe, Probe::Http { .. }) && self.nodes[id].spec.socket_activation;
        Ok(PreparedProbe { index, probe: probe.clone(), address, command, queued })
    }

    /// Where a probe calls a port.
    fn probe_address(&self, id: Id, port: usize) -> Result<(String, u16), RenderError> {
        let declared = self.nodes[id].spec.ports.get(port);
        let number = self.numbers(id).and_then(|numbers| numbers.get(port).copied());
        let (Some(declared), Some(number)) = (declared, number) else {
            return Err(RenderError::Port(port));
        };
        Ok((callable(&declared.host), number))
    }

    /// What would be started now.
    pub(super) fn render(&self, id: Id) -> Result<Launched, RenderError> {
        let node = &self.nodes[id];
        let spec = &node.spec;
        let view = View::of(spec.placement);
        let mut launched = Launched {
            kind: spec.kind,
            origin: RunOrigin::Unmanaged,
            command: None,
            content: None,
            ports: spec.ports.clone(),
            numbers: self.numbers(id).unwrap_or_default(),
            expected: None,
        };
        let mut linked = None;
        let program = match &spec.program {
            Program::Artifact { .. } => {
                let artifact = node.build.accepted.as_ref().ok_or(RenderError::Program)?;
                launched.content = Some(artifact.content);
                let is_process = spec.placement == Placement::Process;
                linked = is_process.then(|| artifact.linked.clone());
                artifact.path.clone()
            }
            Program::Command { program } => self.text(view, &program.value)?,
            Program::External => return Ok(launched),
            Program::Image { image, .. } => image.clone(),
        };
        let args: Result<Vec<String>, _> =
            spec.args.iter().map(|arg| self.text(view, &arg.value)).collect();
        let mut env = Vec::with_capacity(spec.env.len() + 1);
        if let Some(folder) = &spec.manifest_dir
            && !spec.env.contains_key("CARGO_MANIFEST_DIR")
        {
            env.push(("CARGO_MANIFEST_DIR".to_string(), folder.clone()));
        }
        for (name, setting) in &spec.env {
            env.push((name.clone(), self.text(view, setting.declared())?));
        }
        let shell_wins = spec.env.iter().filter(|(_, setting)| setting.declared.is_some());
        let watchdog_us =
            spec.watchdog.map(|every| u64::try_from(every.as_micros()).unwrap_or(u64::MAX));
        launched.origin = RunOrigin::Started;
        let args = args?;
        let user = spec.user.as_ref().filter(|_| spec.placement == Placement::Process);
        let user = user.map(|account| {
            let data = &self.identity.data;
            let values = env.iter().map(|(_, value)| value);
            let mut texts = args.iter().chain(values).chain([&program, &spec.cwd]);
            let has_data = !data.is_empty() && texts.any(|text| text.contains(data.as_str()));
            let folder = has_data.then(|| format!("{data}/{}", spec.name));
            RunAs { account: account.clone(), folder }
        });
        launched.command = Some(Command {
            program,
            linked,
            args,
            user,
            context: node.next_context(),
            env,
            direct_hosts: self.direct_hosts(id),
            shell_wins: shell_wins.map(|(name, _)| name.clone()).collect(),
            cwd: spec.cwd.clone(),
            sockets: spec.inherited_sockets(),
            notify: spec.probes.contains(&Probe::Notify) || spec.watchdog.is_some(),
            watchdog_us,
            container: self.container(id)?,
        });
        Ok(launched)
    }

    /// The hosts at which a service calls itself and the services of the stack that it knows.
    fn direct_hosts(&self, id: Id) -> Vec<String> {
        let inside = self.nodes[id].spec.placement == Placement::Container;
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
        for on in core::iter::once(id).chain(self.nodes[id].edges.known()) {
            let node = &self.nodes[on];
            let ports = || node.spec.ports.iter().map(|port| callable(&port.host));
            match (inside, node.is_external()) {
                (true, false) => hosts.extend(node.spec.name.hosts()),
                (true, true) => hosts.extend(
                    ports().filter(|host| is_loopback(host)).flat_map(|_| node.spec.name.hosts()),
                ),
                (false, false) => hosts.extend(ports()),
                // Another machine may only be reached through the proxy.
                (false, true) => hosts.extend(ports().filter(|host| is_loopback(host))),
            }
        }
        // They are few: nearly every service has the same.
        let mut different: Vec<String> = Vec::with_capacity(hosts.len());
        for host in hosts {
            if !different.contains(&host) {
                different.push(host);
            }
        }
        different
    }

    /// A text with its ports filled in, as seen from that side.
    pub(super) fn text(&self, view: View, text: &Text) -> Result<String, RenderError> {
        text.render(|name, port| {
            let id = *self.ids.get(name)?;
            match view {
                View::Outside => self.numbers_for_others(id)?.get(port).copied(),
                View::Inside => self.number_inside(id, port),
            }
        })
        .map_err(RenderError::Address)
    }

    /// The image to build of a service's program, if it runs in a container.
    pub(super) fn image_wanted(&self, id: Id) -> Option<ImageWanted> {
        let spec = &self.nodes[id].spec;
        (spec.placement == Placement::Container).then(|| ImageWanted {
            workspace: self.identity.workspace.clone(),
            base: self.identity.base_image.clone(),
            self_probe: spec.self_probe.clone(),
        })
    }

    /// The container of a service, if it runs in one.
    pub(super) fn container(&self, id: Id) -> Result<Option<Container>, RenderError> {
        let node = &self.nodes[id];
        if node.spec.placement == Placement::Process {
            return Ok(None);
        }
        let (image, origin) = match &node.spec.program {
            Program::Image { image, .. } => (image.clone(), ImageOrigin::Foreign),
            Program::Artifact { .. } | Program::Command { .. } | Program::External => {
                let artifact = node.build.accepted.as_ref();
                let image = artifact.and_then(|artifact| artifact.image.clone());
                (image.ok_or(RenderError::Image)?, ImageOrigin::Built)
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

    /// The number on which the service itself listens.
    pub(super) fn number_inside(&self, id: Id, port: usize) -> Option<u16> {
        match &self.nodes[id].spec.program {
            Program::Image { ports, .. } => ports.get(port).copied(),
            Program::Artifact { .. } | Program::Command { .. } | Program::External => {
                self.numbers_for_others(id)?.get(port).copied()
            }
        }
    }

    /// The services that a service calls and for which this machine listens.
    fn neighbours(&self, id: Id) -> Vec<Neighbour> {
        let called = self.nodes[id].edges.known();
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
