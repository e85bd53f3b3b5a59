//! One bring-up as its client sees it: the plan and what cargo links go to the
//! supervisor, changes come back, and at some point it is done or has failed.
//!
//! It starts and stops nothing itself.

use std::collections::BTreeMap;

use anyhow::bail;
use xtask_client::connection::update;
use xtask_client::protocol::{Reply, Request};
use xtask_client::snapshot::{ServiceSnapshot, Snapshot};
use xtask_core::plan::Plan;
use xtask_core::terms::Name;

use super::build::{Build, BuildEvent};
use super::tell::Teller;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::session::launch::Session;
use crate::view::failure::{is_cause, is_well};
use crate::view::progress::unused;

/// How a bring-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything that the plan names is ready or has succeeded.
    Ready,
    /// Something failed, and nothing more is waited for.
    Failed,
    /// The build failed, and nothing that runs was touched by that.
    BuildFailed,
    /// Somebody wants it to end.
    Interrupted(Exit),
}

/// A bring-up under way.
pub(crate) struct BringUp<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) session: Session,
    pub(crate) build: Build,
    pub(crate) teller: Teller,
    /// Whether a failure ends only what it concerns.
    pub(crate) keep_going: bool,
    /// The state before it began.
    before: Snapshot,
    build_ok: Option<bool>,
    /// Whether the supervisor has taken the plan.
    applied: bool,
    /// Whether the supervisor has done everything that follows from the build.
    build_settled: bool,
}

impl<'a> BringUp<'a> {
    /// A bring-up that has not begun.
    pub(crate) fn new(
        plan: &'a Plan,
        session: Session,
        build: Build,
        teller: Teller,
        keep_going: bool,
    ) -> Self {
        let before = session.snapshot.clone();
        Self {
            plan,
            session,
            build,
            teller,
            keep_going,
            before,
            build_ok: None,
            applied: false,
            build_settled: false,
        }
    }

    /// Brings the plan up. With `hold` the stack lives as long as this connection.
    ///
    /// # Errors
    /// When the supervisor refuses, or goes away.
    pub(crate) async fn run(
        &mut self,
        hold: bool,
        interrupts: &mut Interrupts,
    ) -> anyhow::Result<Outcome> {
        if let Some(pid) = self.build.pid() {
            self.session.connection.send(Request::Building { pid }).await?;
        }
        let plan = Box::new(self.plan.clone());
        let apply = self.session.connection.send(Request::Apply { plan, hold }).await?;
        let mut build_ended = None;
        let mut asked = None;
        loop {
            if let Some(outcome) = self.judge() {
                return Ok(outcome);
            }
            let speak_at = self.teller.speak_at();
            tokio::select! {
                event = self.build.next() => {
                    if let Some(id) = self.built(event?).await? {
                        build_ended = Some(id);
                    }
                }
                answer = self.session.connection.next() => match answer? {
                    None => bail!("the stack was shut down meanwhile"),
                    Some(answer) => {
                        let id = answer.id;
                        if let Reply::Refused { message } = answer.reply {
                            bail!("the supervisor refuses: {message}");
                        }
                        self.applied |= id == apply;
                        self.build_settled |= Some(id) == build_ended;
                        self.take(answer.reply)?;
                        if asked == Some(id) {
                            asked = None;
                            let services = services_of(self.plan, &self.session.snapshot);
                            self.teller.waiting(&services, &self.session.snapshot.deadlocks);
                        }
                    }
                },
                exit = interrupts.next() => return Ok(Outcome::Interrupted(exit)),
                () = tokio::time::sleep_until(speak_at) => {
                    if self.teller.is_time_to_speak() {
                        // Only a look at the system tells who is blocked on whom.
                        asked = Some(self.session.connection.send(Request::Status).await?);
                    }
                }
            }
        }
    }

    /// The services of the plan as they are now, dependencies first.
    pub(crate) fn services(&self) -> Vec<&ServiceSnapshot> {
        services_of(self.plan, &self.session.snapshot)
    }

    /// Shows what is up now.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub(crate) fn show(&mut self) -> anyhow::Result<()> {
        let Self { plan, session, before, teller, .. } = self;
        let services = services_of(plan, &session.snapshot);
        teller.ready(&session.snapshot, &services, &kept(before, &services))?;
        teller.unused(&unused(before, &session.snapshot), &plan.stack);
        Ok(())
    }

    /// Takes in what the supervisor says, and passes it on.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub(crate) fn take(&mut self, reply: Reply) -> anyhow::Result<()> {
        let services = match &reply {
            Reply::Changed { services, .. } => services,
            Reply::Snapshot(snapshot) => &snapshot.services,
            Reply::Done | Reply::Report(_) | Reply::Refused { .. } => return Ok(()),
        };
        for now in services {
            self.teller.changed(self.session.snapshot.service(&now.name), now)?;
        }
        update(&mut self.session.snapshot, reply);
        Ok(())
    }

    /// Tells everybody what the build brought. The number of the last call about it.
    async fn built(&mut self, event: BuildEvent) -> anyhow::Result<Option<u64>> {
        let connection = &mut self.session.connection;
        match event {
            BuildEvent::Linked { services, path, fresh } => {
                self.teller.linked(&services, &path, fresh)?;
                connection.send(Request::Linked { services, path }).await?;
            }
            BuildEvent::Missing { services, message } => {
                connection.send(Request::BuildFailed { services, message }).await?;
            }
            BuildEvent::Ended { ok } => {
                self.teller.build_ended(ok)?;
                self.build_ok = Some(ok);
                return Ok(Some(connection.send(Request::BuildEnded { ok }).await?));
            }
        }
        Ok(None)
    }

    fn judge(&self) -> Option<Outcome> {
        if !self.applied {
            return None;
        }
        let services = self.services();
        if !self.keep_going && services.iter().any(|service| is_cause(service)) {
            return Some(Outcome::Failed);
        }
        if !self.build_settled || !services.iter().all(|service| !service.phase.is_on_the_way()) {
            return None;
        }
        if !services.iter().all(|service| is_well(service)) {
            Some(Outcome::Failed)
        } else if self.build_ok == Some(false) {
            Some(Outcome::BuildFailed)
        } else {
            Some(Outcome::Ready)
        }
    }
}

fn services_of<'a>(plan: &Plan, snapshot: &'a Snapshot) -> Vec<&'a ServiceSnapshot> {
    // Asked at each event, so that a look at all of them for each would be felt.
    let known: BTreeMap<_, _> =
        snapshot.services.iter().map(|service| (&service.name, service)).collect();
    plan.services.iter().filter_map(|service| known.get(&service.name).copied()).collect()
}

/// Those services that still have the run that they had before.
fn kept<'a>(before: &Snapshot, services: &[&'a ServiceSnapshot]) -> Vec<&'a Name> {
    let same = |service: &&&ServiceSnapshot| {
        before
            .service(&service.name)
            .is_some_and(|before| (before.run, before.phase) == (service.run, service.phase))
    };
    services.iter().filter(same).map(|service| &service.name).collect()
}
