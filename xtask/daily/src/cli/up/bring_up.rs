//! The client of a bring-up: sends the plan and each linked program to the supervisor, and
//! reports changes until everything is ready or something failed.
//!
//! The supervisor starts and stops the services.

use xtask_core::sorted::SortedMap;

use anyhow::bail;
use tokio::time::{Instant, sleep_until};
use xtask_control::connection::update;
use xtask_control::protocol::{Ask, Reply, Request};
use xtask_core::plan::{KeptFlags, Plan, Port};
use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::stack::ServiceAddress;
use xtask_core::terms::Name;

use super::arrivals::Arrivals;
use super::build::{Build, BuildEvent};
use super::failure;
use super::interact::Actions;
use super::live::Live;
use super::logs::Logs;
use super::reporter::Reporter;
use super::timeline::{self, Timeline};
use super::watch::Watching;
use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::session::connect::Session;
use crate::system::{listeners, wait_if_some};
use crate::view::failure::{is_cause, is_well};
use crate::view::progress::unused;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BringUpResult {
    /// Every service of the plan is ready or has succeeded.
    Ready,
    /// A service failed, and the bring-up stops waiting.
    Failed,
    /// The build failed, and every service keeps its run.
    BuildFailed,
    /// A signal ends the command.
    Interrupted(Exit),
}

pub struct BringUp<'a> {
    pub plan: &'a Plan,
    pub session: Session,
    pub build: Build,
    pub reporter: Reporter,
    /// Whether independent services continue after a failure.
    pub keep_going: bool,
    /// All services of the workspace, also those outside the plan.
    pub known: Vec<Name>,
    /// What a detached `up` looks at again before it reports success.
    pub(super) arrivals: Arrivals,
    /// Whether the services that were running before were asked whether they still answer.
    asked: bool,
    /// The flags that the stack keeps from now on, if this command has any.
    pub flags: Option<KeptFlags>,
    /// The live lines, and the keys.
    pub(super) live: Live,
    /// The times of the start.
    pub(super) timeline: Timeline,
    /// What the keys have started.
    pub(super) actions: Actions,
    /// Whether the stack is watched, once it is up.
    pub(super) watching: Option<Watching>,
    /// The state before the bring-up.
    before: Snapshot,
    build_ok: Option<bool>,
    /// Whether the supervisor has accepted the plan.
    applied: bool,
    /// Whether the supervisor has applied the end of the build.
    build_settled: bool,
}

impl<'a> BringUp<'a> {
    pub fn new(
        plan: &'a Plan,
        session: Session,
        build: Build,
        reporter: Reporter,
        keep_going: bool,
    ) -> Self {
        let before = session.snapshot.clone();
        Self {
            plan,
            session,
            build,
            reporter,
            keep_going,
            known: Vec::new(),
            flags: None,
            arrivals: Arrivals::default(),
            asked: false,
            live: Live::off(),
            timeline: Timeline::new(Instant::now()),
            actions: Actions::default(),
            watching: None,
            before,
            build_ok: None,
            applied: false,
            build_settled: false,
        }
    }

    /// Makes the result depend on a second look at services that may be dead on arrival.
    pub fn look_again(&mut self) {
        self.arrivals = Arrivals::of(self.plan);
        for service in &self.before.services {
            self.arrivals.ran_before(service, Instant::now());
        }
    }

    /// Brings the plan up, and prints the lines of `logs` meanwhile. With `hold` the supervisor
    /// shuts the stack down when this connection closes.
    pub async fn run(
        &mut self,
        hold: bool,
        interrupts: &mut Interrupts,
        mut logs: Option<&mut Logs>,
    ) -> anyhow::Result<BringUpResult> {
        if let Some(pid) = self.build.pid() {
            self.session.connection.send(Request::Building { pid }).await?;
        }
        context::send(&mut self.session).await?;
        let plan = Box::new(self.plan.clone());
        let apply = {
            let flags = self.flags.take().map(Box::new);
            self.session.connection.send(Request::Apply { plan, hold, flags }).await?
        };
        let mut build_ended = None;
        let mut status_request = None;
        self.draw();
        loop {
            if let Some(result) = self.result() {
                if result != BringUpResult::Ready || self.asked {
                    return Ok(result);
                }
                self.ask().await?;
                continue;
            }
            let report_at = self.reporter.waiting_report_at;
            let look_at = self.arrivals.look_at(Instant::now());
            // Changes are printed between log lines.
            let is_idle = !logs.as_ref().is_some_and(|logs| logs.is_printing());
            tokio::select! {
                // A service may print without end, and then lines are always ready.
                biased;
                event = self.build.next(), if is_idle => {
                    if let Some(id) = self.forward(event?).await? {
                        build_ended = Some(id);
                    }
                }
                answer = self.session.connection.next(), if is_idle => match answer? {
                    None => return Err(Error::ShutDown.into()),
                    Some(answer) => {
                        let id = answer.id;
                        if let Reply::Refused { message } = answer.reply {
                            bail!("the supervisor refused the plan: {message}");
                        }
                        self.applied |= id == apply;
                        self.build_settled |= Some(id) == build_ended;
                        self.take(answer)?;
                        if status_request == Some(id) {
                            status_request = None;
                            let services = services_of(self.plan, &self.session.snapshot);
                            self.reporter.waiting(&services, &self.session.snapshot.deadlocks);
                        }
                    }
                },
                exit = interrupts.next() => return Ok(BringUpResult::Interrupted(exit)),
                event = self.live.next() => {
                    if let Some(exit) = self.act(event, logs.as_deref_mut()).await? {
                        return Ok(BringUpResult::Interrupted(exit));
                    }
                }
                () = wait_if_some(look_at.map(sleep_until)) => {}
                () = sleep_until(report_at) => {
                    if self.reporter.schedule_waiting_report() {
                        // `Status` makes the supervisor look for deadlocks.
                        status_request = Some(self.session.connection.send(Request::Status { ask: Ask::No, sockets: true }).await?);
                    }
                }
                step = wait_if_some(logs.as_mut().map(|logs| logs.step())) => step?,
            }
        }
    }

    /// Asks the services that this bring-up kept. The others have just passed their probes.
    async fn ask(&mut self) -> anyhow::Result<()> {
        self.asked = true;
        let kept: Vec<Name> = kept(&self.before, &self.services()).into_iter().cloned().collect();
        if !kept.is_empty() {
            let snapshot = self.session.connection.still_answer(kept).await?;
            self.apply(Reply::Snapshot(snapshot))?;
        }
        Ok(())
    }

    /// The present state of the plan's services, dependencies first.
    pub fn services(&self) -> Vec<&ServiceSnapshot> {
        services_of(self.plan, &self.session.snapshot)
    }

    /// Prints the services that are up.
    pub fn show(&mut self) -> anyhow::Result<()> {
        let Self { plan, session, before, reporter, timeline, .. } = self;
        let services = services_of(plan, &session.snapshot);
        reporter.ready(&session.snapshot, &services, &kept(before, &services))?;
        if let Some(start) = timeline.start(plan, before) {
            reporter.timed(&start, &timeline::keep(&session.paths, &start))?;
        }
        reporter.unused(&unused(before, &session.snapshot), &plan.stack);
        let runs: Vec<_> =
            session.snapshot.runs().map(|(leader, name)| (name, vec![leader])).collect();
        reporter.strangers(&listeners::strangers(&runs, &addresses(plan, &services)));
        Ok(())
    }

    /// Applies a message of the supervisor and reports each change.
    pub fn apply(&mut self, reply: Reply) -> anyhow::Result<()> {
        let services = match &reply {
            Reply::Changed { services, .. } => services,
            Reply::Snapshot(snapshot) => &snapshot.services,
            Reply::Watch { .. } => {
                update(&mut self.session.snapshot, reply);
                self.draw();
                return Ok(());
            }
            Reply::Done
            | Reply::StartedAs { .. }
            | Reply::Flags { .. }
            | Reply::Report(_)
            | Reply::Refused { .. } => {
                return Ok(());
            }
        };
        for now in services {
            let before = self.session.snapshot.service(&now.name);
            self.reporter.changed(before, now)?;
            if failure::is_early_end(before, now) {
                let cause = failure::cause(self.plan, &self.known, &self.session.paths, now)?;
                self.reporter.cause(now, &cause)?;
            }
            self.arrivals.note(now, Instant::now());
            self.live.note(now);
            self.timeline.note(now);
        }
        update(&mut self.session.snapshot, reply);
        self.draw();
        Ok(())
    }

    /// Reports an event of the build and sends it to the supervisor. Returns the number of the
    /// request that reports the end of the build.
    async fn forward(&mut self, event: BuildEvent) -> anyhow::Result<Option<u64>> {
        let connection = &mut self.session.connection;
        match event {
            BuildEvent::Linked { services, program, fresh } => {
                self.timeline.built(&services, fresh);
                self.reporter.linked(&services, &program.path, fresh)?;
                connection.send(Request::Linked { services, program }).await?;
            }
            BuildEvent::Missing { services, message } => {
                connection.send(Request::BuildFailed { services, message }).await?;
            }
            BuildEvent::Ended { ok } => {
                self.timeline.build_ended();
                self.reporter.build_ended(ok)?;
                self.build_ok = Some(ok);
                return Ok(Some(connection.send(Request::BuildEnded { ok }).await?));
            }
        }
        Ok(None)
    }

    /// Whether a service that the metadata no longer declares is still stopping.
    fn is_dropping(&self) -> bool {
        let Some(declared) = &self.plan.declared else { return false };
        let dropped = |service: &ServiceSnapshot| {
            !declared.contains(&service.name) && service.phase == Phase::Stopping
        };
        self.session.snapshot.services.iter().any(dropped)
    }

    /// The result, once it is certain.
    fn result(&self) -> Option<BringUpResult> {
        if !self.applied {
            return None;
        }
        let (services, now) = (self.services(), Instant::now());
        let has_failed = services.iter().any(|service| is_cause(service));
        if !self.keep_going && (has_failed || self.arrivals.dead(now).next().is_some()) {
            return Some(BringUpResult::Failed);
        }
        let settled =
            |service: &&ServiceSnapshot| !service.phase.is_on_the_way() && !service.unsettled;
        if !self.build_settled || !services.iter().all(settled) || self.is_dropping() {
            return None;
        }
        if self.arrivals.look_at(now).is_some() {
            return None;
        }
        let failed = |service: &&ServiceSnapshot| !is_well(service) || is_cause(service);
        if services.iter().any(failed) {
            Some(BringUpResult::Failed)
        } else if self.build_ok == Some(false) {
            Some(BringUpResult::BuildFailed)
        } else {
            Some(BringUpResult::Ready)
        }
    }
}

fn services_of<'a>(plan: &Plan, snapshot: &'a Snapshot) -> Vec<&'a ServiceSnapshot> {
    // Called for each event: a search of all services for each would be slow in large stacks.
    let known: SortedMap<_, _> =
        snapshot.services.iter().map(|service| (&service.name, service)).collect();
    plan.services.iter().filter_map(|service| known.get(&service.name).copied()).collect()
}

/// Where the services are called.
fn addresses(plan: &Plan, services: &[&ServiceSnapshot]) -> Vec<ServiceAddress> {
    let of = |service: &&ServiceSnapshot| {
        let declared = plan.service(&service.name).into_iter().flat_map(|planned| &planned.ports);
        let ports = declared.filter_map(|port| Some((port, *service.ports.get(&port.name)?)));
        let address = |(port, number): (&Port, u16)| ServiceAddress {
            service: service.name.clone(),
            host: port.host.clone(),
            port: number,
        };
        ports.map(address).collect::<Vec<_>>()
    };
    services.iter().flat_map(of).collect()
}

/// The services that keep the run that they had before.
fn kept<'a>(before: &Snapshot, services: &[&'a ServiceSnapshot]) -> Vec<&'a Name> {
    let same = |service: &&&ServiceSnapshot| {
        before
            .service(&service.name)
            .is_some_and(|before| (before.run, before.phase) == (service.run, service.phase))
    };
    services.iter().filter(same).map(|service| &service.name).collect()
}
