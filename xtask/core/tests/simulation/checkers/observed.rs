//! What can be known of a stack from the events that went in and the effects that came
//! out.
//!
//! It judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xtask_core::plan::{Program, Service};
use xtask_core::snapshot::Phase;
use xtask_core::stack::event::InspectionResult;
use xtask_core::stack::{Command, Effect, Event, Exit, Fault, Report, Run, Signal};
use xtask_core::terms::Name;

use super::adoption::whose;
use super::seen::{Life, Seen, Whose};

#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) services: BTreeMap<Name, Seen>,
    pub(crate) shutdown: bool,
    pub(crate) kill_now: bool,
    pub(crate) ends: usize,
    /// What this event asked to be done to a run.
    owed: Option<(Name, Fault)>,
    /// When the stack said it wants to be woken.
    pub(crate) deadline: Option<Duration>,
}

impl Observed {
    fn seen(&mut self, name: &Name) -> Option<&mut Seen> {
        self.services.get_mut(name)
    }

    fn life(&mut self, name: &Name, run: Run) -> Option<&mut Life> {
        self.seen(name)?.life.as_mut().filter(|life| life.run == run)
    }

    /// Whether an event is about a run that is over.
    pub(crate) fn is_stale(&self, event: &Event) -> bool {
        let (name, run) = match event {
            Event::Started { service, run, .. }
            | Event::StartFailed { service, run, .. }
            | Event::ProbePassed { service, run, .. }
            | Event::ProbeSeen { service, run, .. }
            | Event::Status { service, run, .. }
            | Event::ExtendTimeout { service, run, .. }
            | Event::WatchdogPing { service, run }
            | Event::Exited { service, run, .. }
            | Event::Gone { service, run } => (service, *run),
            _ => return false,
        };
        let Some(seen) = self.services.get(name) else { return false };
        // What is not managed can be given up without a word.
        let external = seen.spec.program == Program::External;
        !external && seen.life.as_ref().is_none_or(|life| run < life.run)
    }

    /// Whether the event asked for that fault, and it has not been done yet.
    pub(crate) fn is_owed(&self, name: &Name, fault: Fault) -> bool {
        self.owed.as_ref().is_some_and(|(of, owed)| of == name && *owed == fault)
    }

    pub(crate) fn event(&mut self, now: Duration, event: &Event) {
        self.owed = None;
        match event {
            Event::Apply { plan } => {
                if !self.shutdown {
                    for spec in &plan.services {
                        self.applied(spec);
                        if let Some(seen) = self.seen(&spec.name) {
                            seen.may_replace = plan.replace;
                            seen.excused |= plan.replace;
                        }
                    }
                    self.gather();
                    // Whoever is to be restarted with what is replaced is told so now.
                    let replaced = self.services.values().filter(|seen| seen.excused);
                    let replaced: Vec<Name> = replaced.map(|seen| seen.spec.name.clone()).collect();
                    replaced.iter().for_each(|name| self.excuse_restarted_with(name));
                }
            }
            Event::TakeDown { services, only } => self.taken_down(services, *only),
            Event::Restart { services } | Event::Replace { services } => {
                let replace = matches!(event, Event::Replace { .. });
                for name in services {
                    if !self.shutdown
                        && let Some(seen) = self.seen(name)
                    {
                        seen.may_replace = replace;
                        seen.asked_for();
                        (seen.wanted, seen.excused) = (true, true);
                        (seen.succeeded, seen.serving) = (false, true);
                        seen.restarted = true;
                        self.excuse_restarted_with(name);
                    }
                }
            }
            Event::Fault { service, fault } => self.fault(service, *fault),
            Event::HolderInspected { service, result } => {
                let Some(seen) = self.seen(service) else { return };
                seen.looking = false;
                seen.found = match result {
                    InspectionResult::Process(found) => Some(found.clone()),
                    InspectionResult::Free | InspectionResult::Hidden => None,
                };
            }
            Event::Shutdown | Event::KillNow => {
                self.shutdown = true;
                self.kill_now |= *event == Event::KillNow;
                self.services.values_mut().for_each(|seen| seen.wanted = false);
            }
            Event::Accepted { service, artifact } => {
                let Some(seen) = self.seen(service) else { return };
                let new = (artifact.path.clone(), artifact.content);
                let changed = seen.accepted.as_ref() != Some(&new);
                if changed {
                    seen.excused = true;
                    seen.asked_for();
                }
                seen.accepted = Some(new);
                seen.pending = false;
                let moves = seen.keeps_other_ports();
                if changed {
                    self.excuse_restarted_with(service);
                }
                if moves {
                    self.excuse_knowing(service);
                }
            }
            Event::BuildFailed { service, .. } => {
                let Some(seen) = self.seen(service) else { return };
                seen.build_failed = true;
            }
            Event::BuildEnded { .. } => {
                let pending = self.services.values_mut().filter(|seen| seen.pending);
                pending.for_each(|seen| seen.build_failed = true);
            }
            Event::Bound { service, ports } => self.bound(service, ports),
            Event::BindFailed { service, .. } => {
                // From now on others are told the number of the plan.
                self.excuse_knowing(service);
                if let Some(seen) = self.seen(service) {
                    (seen.ports_asked, seen.numbers_lost) = (None, true);
                }
            }
            Event::Started { service, run, .. } => {
                if let Some(life) = self.life(service, *run) {
                    life.started = true;
                    life.last_ping = Some(now);
                }
            }
            Event::StartFailed { service, run, .. } => {
                if self.life(service, *run).is_some()
                    && let Some(seen) = self.seen(service)
                {
                    seen.life = None;
                }
            }
            Event::ProbePassed { service, run, probe } => {
                if let Some(life) = self.life(service, *run)
                    && life.missing.remove(probe)
                {
                    life.last_ping = Some(now);
                }
            }
            Event::ExtendTimeout { service, run, by } => {
                if let Some(life) = self.life(service, *run) {
                    life.overdue = now + *by;
                    if life.told.is_some() {
                        life.grace_ends = Some(now + *by);
                    }
                }
            }
            Event::WatchdogPing { service, run } => {
                if let Some(life) = self.life(service, *run) {
                    life.last_ping = Some(now);
                }
            }
            Event::Exited { service, run, exit } => self.exited(now, service, *run, *exit),
            Event::Gone { service, run } => self.gone(service, *run),
            Event::Linked { .. }
            | Event::LogTrouble { .. }
            | Event::ProbeSeen { .. }
            | Event::Status { .. }
            | Event::Calls { .. }
            | Event::Tick => {}
        }
    }

    /// Somebody did it, so that no try is counted.
    fn fault(&mut self, name: &Name, fault: Fault) {
        let Some(seen) = self.seen(name) else { return };
        let ours = |life: &&mut Life| life.live() && life.whose == Whose::Ours && !life.external;
        let Some(life) = seen.life.as_mut().filter(ours) else { return };
        life.fault = match (life.fault, fault) {
            (Some(Fault::Kill), _) => Some(Fault::Kill),
            (_, Fault::Resume) => None,
            (_, fault) => Some(fault),
        };
        self.owed = Some((name.clone(), fault));
    }

    /// Finds out who starts together.
    fn gather(&mut self) {
        let reached: BTreeMap<Name, BTreeSet<Name>> =
            self.services.keys().map(|name| (name.clone(), self.reachable(name))).collect();
        for (name, seen) in &mut self.services {
            let both = reached[name].iter().filter(|other| reached[*other].contains(name));
            seen.together = both.filter(|other| *other != name).cloned().collect();
        }
    }

    fn reachable(&self, from: &Name) -> BTreeSet<Name> {
        let mut open = vec![from];
        let mut reached = BTreeSet::new();
        while let Some(name) = open.pop() {
            if reached.insert(name.clone()) {
                open.extend(self.services.get(name).iter().flat_map(|seen| seen.spec.edges()));
            }
        }
        reached
    }

    fn applied(&mut self, spec: &Service) {
        let seen =
            self.services.entry(spec.name.clone()).or_insert_with(|| Seen::new(spec.clone()));
        let running = seen.life.is_some();
        let same = seen.spec.args == spec.args
            && seen.spec.env == spec.env
            && seen.spec.ports == spec.ports
            && seen.spec.program == spec.program
            && seen.spec.kind == spec.kind
            && seen.spec.socket_activation == spec.socket_activation;
        seen.excused |= !same;
        seen.serving = running && seen.wanted;
        seen.pending = matches!(spec.program, Program::Artifact { .. });
        seen.build_failed = false;
        let moved = seen.spec.ports != spec.ports;
        if moved {
            // Back to what it had before it was asked for anything else, it is that again.
            let had = seen.had.as_ref().filter(|(ports, _)| *ports == spec.ports);
            seen.numbers = had.map(|(_, numbers)| numbers.clone());
        }
        seen.wanted = true;
        seen.asked_for();
        seen.spec = spec.clone();
        if moved || seen.keeps_other_ports() {
            self.excuse_knowing(&spec.name);
        }
    }

    /// Whoever knows the address of a service may have to be told another one.
    fn excuse_knowing(&mut self, name: &Name) {
        let mut knowing = Vec::new();
        for other in self.services.values_mut() {
            let knows = other.spec.uses.iter().any(|used| used.of == *name)
                || other.spec.depends_on.iter().any(|edge| edge.on == *name);
            other.excused |= knows;
            if knows {
                knowing.push(other.spec.name.clone());
            }
        }
        for name in knowing {
            self.excuse_restarted_with(&name);
        }
    }

    /// Whoever is restarted with a service is told so now, whatever its edges become.
    fn excuse_restarted_with(&mut self, name: &Name) {
        let mut open = vec![name.clone()];
        let mut known = BTreeSet::new();
        while let Some(name) = open.pop() {
            for other in self.services.values_mut() {
                let edges = &other.spec.depends_on;
                let with = edges.iter().any(|edge| edge.on == name && edge.restart);
                if with && known.insert(other.spec.name.clone()) {
                    other.excused = true;
                    open.push(other.spec.name.clone());
                }
            }
        }
    }

    fn taken_down(&mut self, names: &[Name], only: bool) {
        let mut open = names.to_vec();
        let mut known = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !known.insert(name.clone()) {
                continue;
            }
            let Some(seen) = self.seen(&name) else { continue };
            (seen.wanted, seen.may_replace) = (false, false);
            if !only {
                open.extend(self.dependents(&name));
            }
        }
    }

    /// Who names a service in `depends-on`.
    pub(crate) fn dependents(&self, name: &Name) -> Vec<Name> {
        let all = self.services.values();
        all.filter(|seen| seen.spec.depends_on.iter().any(|edge| edge.on == *name))
            .map(|seen| seen.spec.name.clone())
            .collect()
    }

    fn bound(&mut self, service: &Name, ports: &[u16]) {
        let Some(seen) = self.seen(service) else { return };
        (seen.bound, seen.numbers_lost) = (true, false);
        let asked = seen.ports_asked.take();
        if seen.spec.program == Program::External || seen.spec.ports.is_empty() {
            return; // They are closed again at once.
        }
        seen.had = asked.map(|asked| (asked, ports.to_vec()));
        let moved = seen.numbers.as_deref().is_none_or(|numbers| numbers != ports);
        // Ports that came for another plan are closed again.
        if seen.had.as_ref().is_some_and(|(asked, _)| *asked == seen.spec.ports) {
            seen.numbers = Some(ports.to_vec());
        }
        if moved {
            self.excuse_knowing(service);
        }
    }

    fn exited(&mut self, now: Duration, service: &Name, run: Run, exit: Exit) {
        let Some(life) = self.life(service, run) else { return };
        life.exit = Some(exit);
        life.clean = life.told.is_some() || life.killed.is_some();
        let asked_for = life.fault.is_some();
        if !life.clean
            && let Some(seen) = self.seen(service)
        {
            seen.crashed_at = Some(now);
            seen.asked |= asked_for;
            self.excuse_restarted_with(service);
        }
    }

    fn gone(&mut self, service: &Name, run: Run) {
        if self.life(service, run).is_none() {
            return;
        }
        let Some(seen) = self.seen(service) else { return };
        let Some(life) = seen.life.take() else { return };
        seen.succeeded = seen.is_job()
            && life.exit == Some(Exit::Code(0))
            && !life.clean
            && seen.wanted
            && !seen.restarted;
    }

    pub(crate) fn effect(&mut self, now: Duration, effect: &Effect) {
        match effect {
            Effect::Spawn { service, run, command, probes, .. } => {
                let missing = probes.iter().map(|probe| probe.index).collect();
                self.begin(now, service, *run, missing, Some(command));
                if let Some(seen) = self.seen(service) {
                    seen.may_replace = false;
                }
            }
            Effect::Adopt { service, run, command, probes, .. } => {
                let missing = probes.iter().map(|probe| probe.index).collect();
                self.excuse_knowing(service);
                let Some(seen) = self.seen(service) else { return };
                seen.numbers_lost = false;
                let whose =
                    seen.found.as_ref().map_or(Whose::LeftAlone, |found| whose(seen, found));
                seen.may_replace &= whose == Whose::MakesRoom;
                self.begin(now, service, *run, missing, Some(command));
                if let Some(life) = self.life(service, *run) {
                    life.whose = whose;
                }
            }
            Effect::Release { service, run } => {
                if self.life(service, *run).is_some()
                    && let Some(seen) = self.seen(service)
                {
                    seen.life = None;
                }
            }
            Effect::Probe { service, run, probes } => {
                let missing = probes.iter().map(|probe| probe.index).collect();
                self.begin(now, service, *run, missing, None);
                if let Some(seen) = self.seen(service) {
                    seen.may_replace = false;
                }
            }
            Effect::Signal { service, run, signal } => {
                let grace = self.services[service].spec.stop.timeout;
                let killed_by_test = self.is_owed(service, Fault::Kill);
                let Some(life) = self.life(service, *run) else { return };
                match signal {
                    Signal::Stop(_) => {
                        life.told = life.told.or(Some(now));
                        life.grace_ends = Some(now + grace);
                    }
                    // It looks like a crash, and has to be taken for one.
                    Signal::Kill if killed_by_test => self.owed = None,
                    Signal::Kill => {
                        life.killed = life.killed.or(Some(now));
                        if life.told.is_none() {
                            // It went silent, which is a crash.
                            self.excuse_restarted_with(service);
                        }
                    }
                    Signal::Pause | Signal::Resume => self.owed = None,
                }
            }
            Effect::Bind { service, .. } => {
                if let Some(seen) = self.seen(service) {
                    seen.ports_asked = Some(seen.spec.ports.clone());
                }
            }
            Effect::Unbind { service } => {
                if let Some(seen) = self.seen(service) {
                    seen.bound = false;
                }
            }
            Effect::Report(Report::Phase { service, run, phase, .. }) => {
                if let Some(seen) = self.seen(service) {
                    seen.phase = *phase;
                }
                if let Some(life) = self.life(service, *run).filter(|_| *phase == Phase::Stopping) {
                    life.sentenced |= !life.started;
                }
            }
            Effect::End => self.ends += 1,
            Effect::InspectHolder { service, .. } => {
                if let Some(seen) = self.seen(service) {
                    seen.looking = true;
                }
            }
            Effect::CancelStart { service, run } => {
                if let Some(life) = self.life(service, *run) {
                    life.called_off = true;
                }
            }
            Effect::Accept { .. } | Effect::StopProbes { .. } | Effect::Report(_) => {}
        }
    }

    fn begin(
        &mut self,
        now: Duration,
        service: &Name,
        run: Run,
        missing: BTreeSet<usize>,
        command: Option<&Command>,
    ) {
        let Some(seen) = self.seen(service) else { return };
        let external = command.is_none();
        let env = command.map(|command| command.env.clone()).unwrap_or_default();
        let args = command.map(|command| command.args.clone()).unwrap_or_default();
        if !core::mem::take(&mut seen.asked) && seen.crashed_at.is_some() {
            seen.again.push(now);
        }
        (seen.excused, seen.restarted) = (false, false);
        seen.succeeded = false;
        seen.crashed_at = None;
        seen.last_run = run;
        seen.life = Some(Life {
            run,
            whose: Whose::Ours,
            external,
            since: now,
            env,
            args,
            content: seen.accepted.as_ref().map(|accepted| accepted.1),
            started: external,
            missing,
            told: None,
            grace_ends: None,
            killed: None,
            exit: None,
            clean: false,
            overdue: now + seen.spec.start_timeout,
            sentenced: false,
            called_off: false,
            last_ping: None,
            job: seen.is_job(),
            fault: None,
        });
    }
}
