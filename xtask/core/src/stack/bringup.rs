//! A run is started: everything about it is filled in, numbered and asked for.
//!
//! Whether it may start is decided before, in `settle` and `conditions`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::conditions::Standing;
use super::container::View;
use super::effect::{Command, PreparedProbe};
use super::event::Run;
use super::node::{Id, Launched, Origin, Phase, Ready, Starting};
use super::tenancy::Bound;
use super::trail::Shown;
use super::{Effect, Stack};
use crate::plan::{Probe, Program, Text};
use crate::snapshot::Failure;
use crate::terms::host::callable;

impl Stack {
    /// Whether the service's own ports are its own, or those of a process in its place.
    pub(super) fn has_address(&self, id: Id) -> bool {
        !self.is_bindable(id)
            || match &self.nodes[id].address.bound {
                Bound::Yes => self.asked_as_wanted(id),
                Bound::Taken(tenant) => self.is_settled_with(id, tenant),
                Bound::No
                | Bound::Asked
                | Bound::Held(_)
                | Bound::Looking { .. }
                | Bound::Failed { .. } => false,
            }
    }

    /// Starts the next run. Its conditions hold.
    pub(super) fn start(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if let Bound::Taken(_) = self.nodes[id].address.bound {
            return self.take_tenant(id, effects);
        }
        let (launched, probes) = match self.prepare(id) {
            Ok(prepared) => prepared,
            Err(reason) => return self.fail(id, Failure::Start, reason, effects),
        };
        self.nodes[id].evictions = 0;
        let command = launched.command.clone();
        let run = self.begin(id, launched, &probes);
        let spec = &self.nodes[id].spec;
        let (service, log, start_timeout) = (spec.name.clone(), spec.log, spec.start_timeout);
        match command {
            Some(command) => {
                effects.push(Effect::Spawn { service, run, command, probes, log, start_timeout })
            }
            None if probes.is_empty() => self.become_ready(id),
            None => effects.push(Effect::Probe { service, run, probes }),
        }
    }

    /// Everything that is known of a run before the world has done anything for it.
    pub(super) fn begin(&mut self, id: Id, launched: Launched, probes: &[PreparedProbe]) -> Run {
        let now = self.now;
        let node = &mut self.nodes[id];
        node.run += 1;
        node.shown = Shown::default();
        // Some may be left out, and the others keep their index.
        let count = probes.iter().map(|probe| probe.index + 1).max().unwrap_or(0);
        node.shown.seen.resize(count, None);
        let deadline = Some(now.saturating_add(node.spec.start_timeout));
        node.phase = Phase::Starting(Starting {
            since: now,
            pid: None,
            deadline,
            probes: count,
            missing: probes.iter().map(|probe| probe.index).collect(),
        });
        node.launched = Some(launched);
        node.run
    }

    pub(super) fn prepare(&self, id: Id) -> Result<(Launched, Vec<PreparedProbe>), String> {
        let launched = self.render(id)?;
        let node = &self.nodes[id];
        if node.is_job() {
            return Ok((launched, Vec::new()));
        }
        let probes = node.spec.probes.iter().enumerate();
        let probes: Result<_, String> =
            probes.map(|(index, probe)| self.prepare_probe(id, index, probe)).collect();
        Ok((launched, probes?))
    }

    pub(super) fn prepare_probe(
        &self,
        id: Id,
        index: usize,
        probe: &Probe,
    ) -> Result<PreparedProbe, String> {
        let view = View::of(self.nodes[id].spec.placement);
        let (port, command) = match probe {
            Probe::Notify | Probe::Log { .. } => (None, Vec::new()),
            Probe::Http { port, .. } | Probe::Tcp { port } => (Some(*port), Vec::new()),
            Probe::Command { command } => {
                let words: Result<_, _> =
                    command.iter().map(|text| self.text(view, text)).collect();
                (None, words?)
            }
        };
        let address = match port {
            Some(port) => Some(self.probe_address(id, port)?),
            None => None,
        };
        let queued = match probe {
            Probe::Http { .. } => self.nodes[id].spec.socket_activation,
            Probe::Notify | Probe::Tcp { .. } | Probe::Log { .. } | Probe::Command { .. } => false,
        };
        Ok(PreparedProbe { index, probe: probe.clone(), address, command, queued })
    }

    /// Where to call a port: what listens everywhere is called here.
    fn probe_address(&self, id: Id, port: usize) -> Result<(String, u16), String> {
        let declared = self.nodes[id].spec.ports.get(port);
        let number = self.numbers(id).and_then(|numbers| numbers.get(port).copied());
        let (Some(declared), Some(number)) = (declared, number) else {
            return Err(format!("a probe asks for port {port}, which is not there"));
        };
        Ok((callable(&declared.host), number))
    }

    /// What would be started now, or why that cannot be said.
    pub(super) fn render(&self, id: Id) -> Result<Launched, String> {
        let node = &self.nodes[id];
        let spec = &node.spec;
        let view = View::of(spec.placement);
        let (program, content) = match &spec.program {
            Program::Artifact { .. } => {
                let artifact = node.accepted.as_ref().ok_or("its program is not there")?;
                (artifact.path.clone(), Some(artifact.content))
            }
            Program::Command { program } => (self.text(view, &program.value)?, None),
            Program::External => {
                return Ok(Launched {
                    kind: spec.kind,
                    origin: Origin::Unmanaged,
                    command: None,
                    content: None,
                    ports: spec.ports.clone(),
                    likeness: None,
                });
            }
            Program::Image { image, .. } => (image.clone(), None),
        };
        let args: Result<_, _> = spec.args.iter().map(|arg| self.text(view, &arg.value)).collect();
        let mut env = Vec::with_capacity(spec.env.len() + 1);
        if let Some(folder) = &spec.manifest_dir
            && !spec.env.contains_key("CARGO_MANIFEST_DIR")
        {
            env.push(("CARGO_MANIFEST_DIR".to_string(), folder.clone()));
        }
        for (name, setting) in &spec.env {
            env.push((name.clone(), self.text(view, &setting.value)?));
        }
        let sockets = if spec.socket_activation {
            spec.ports.iter().map(|port| port.name.clone()).collect()
        } else {
            Vec::new()
        };
        let watchdog_us =
            spec.watchdog.map(|every| u64::try_from(every.as_micros()).unwrap_or(u64::MAX));
        let command = Command {
            program,
            args: args?,
            env,
            cwd: spec.cwd.clone(),
            sockets,
            notify: spec.probes.contains(&Probe::Notify) || spec.watchdog.is_some(),
            watchdog_us,
            container: self.container(id)?,
        };
        Ok(Launched {
            kind: spec.kind,
            origin: Origin::Started,
            command: Some(command),
            content,
            ports: spec.ports.clone(),
            likeness: None,
        })
    }

    /// A text with its ports filled in, as they are seen from there.
    pub(super) fn text(&self, view: View, text: &Text) -> Result<String, String> {
        text.render(|name, port| {
            let id = *self.ids.get(name)?;
            match view {
                View::Outside => self.numbers_for_others(id)?.get(port).copied(),
                View::Inside => self.number_inside(id, port),
            }
        })
        .map_err(|name| format!("the address of `{name}` is not known"))
    }

    /// Whether the address of a service will be known, or another, without being asked.
    pub(super) fn address_is_coming(&self, id: Id) -> bool {
        self.address_standing(id) == Standing::Waits
    }

    /// All probes of a live run have passed.
    pub(super) fn become_ready(&mut self, id: Id) {
        let now = self.now;
        let node = &mut self.nodes[id];
        let Phase::Starting(starting) = &node.phase else { return };
        node.shown.ready = Some(now.saturating_sub(starting.since));
        node.shown.ready_at = Some(now);
        node.series.was_ready = true;
        // Whoever was not started here sends nothing.
        let watchdog = if node.is_alive() { node.spec.watchdog } else { None };
        node.phase = Phase::Ready(Ready {
            pid: starting.pid,
            probes: starting.probes,
            watchdog: watchdog.map(|every| now.saturating_add(every)),
        });
    }
}
