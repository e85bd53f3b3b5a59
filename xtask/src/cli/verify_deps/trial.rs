//! One try: a part of the plan is brought up on a fresh stack, looked at, and taken down,
//! with all that it left.
//!
//! What follows from it is judged elsewhere.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use xtask_client::StackPaths;
use xtask_client::logs::closing_lines;
use xtask_client::snapshot::{Phase, Snapshot};
use xtask_core::plan::{Inseparable, Plan};
use xtask_core::terms::Name;

use super::build::Linked;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::cli::isolated;
use crate::cli::up::bring_up::{BringUp, Outcome};
use crate::cli::up::build::{Build, BuildEvent};
use crate::cli::up::tell::{Listener, Teller};
use crate::session::launch::{LaunchSettings, connect_or_launch};
use crate::system::socket::refusing_port;
use crate::view::failure::is_cause;
use crate::view::verify::Failed;

/// Lines that are kept of the log of a service that failed.
const LAST_LINES: usize = 20;

/// What tries have in common.
pub(super) struct Trials<'a> {
    pub(super) plan: &'a Plan,
    /// Of a stack that is there for one try at a time.
    pub(super) paths: &'a StackPaths,
    pub(super) programs: Vec<Linked>,
    pub(super) interrupts: Interrupts,
}

/// How a try ended, seen just before it was taken down.
pub(super) struct Ended {
    outcome: Outcome,
    pub(super) snapshot: Snapshot,
    /// The last lines of each service that failed for itself.
    logs: Vec<(Name, Vec<String>)>,
}

impl Trials<'_> {
    /// The part of the plan without a dependency, and what keeps its address free as long
    /// as it is held.
    ///
    /// # Errors
    /// When there is no free port.
    pub(super) fn plan_without(
        &self,
        service: &Name,
        dependency: &Name,
        limit: Duration,
    ) -> anyhow::Result<Result<(Plan, Vec<OwnedFd>), Inseparable>> {
        let mut held = Vec::new();
        let hosts = self.plan.service(dependency).map(|found| found.ports.as_slice());
        let mut numbers = VecDeque::new();
        for port in hosts.unwrap_or_default() {
            let (socket, number) = refusing_port(&port.host).context("there is no free port")?;
            held.push(socket);
            numbers.push_back(number);
        }
        let next = |_: &str| numbers.pop_front().unwrap_or_default();
        Ok(self.plan.alone_without(service, dependency, limit, next).map(|part| (part, held)))
    }

    /// Tries a part; the exit code if somebody wants to end.
    ///
    /// # Errors
    /// When the supervisor cannot be started, or goes away.
    pub(super) async fn bring_up(
        &mut self,
        part: &Plan,
        service: &Name,
    ) -> anyhow::Result<Result<Ended, Exit>> {
        let settings = LaunchSettings {
            workspace: PathBuf::from(&part.workspace),
            until_pid: Some(std::process::id()),
            record: None,
        };
        let session = connect_or_launch(self.paths, &settings, |_| {}).await?;
        let teller = Teller::new(Listener::Nobody, part, true)?;
        let mut up = BringUp::new(part, session, self.build_of(part), teller, false);
        let tried = match up.run(true, &mut self.interrupts).await {
            Ok(Outcome::Interrupted(exit)) => Ok(Err(exit)),
            Ok(outcome) => match up.session.connection.status().await {
                Ok(snapshot) => {
                    let logs = self.logs(&snapshot, service);
                    Ok(Ok(Ended { outcome, snapshot, logs }))
                }
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        isolated::take_down(up.session, &mut self.interrupts).await;
        isolated::delete(self.paths);
        tried
    }

    /// What was built, as far as the part takes it.
    fn build_of(&self, part: &Plan) -> Build {
        let of_part = |linked: &Linked| {
            let services = linked.services.iter().filter(|name| part.service(name).is_some());
            let services: Vec<Name> = services.cloned().collect();
            let path = linked.path.clone();
            (!services.is_empty()).then_some(BuildEvent::Linked { services, path, fresh: true })
        };
        let linked = self.programs.iter().filter_map(of_part);
        Build::Known(linked.chain([BuildEvent::Ended { ok: true }]).collect())
    }

    fn logs(&self, snapshot: &Snapshot, service: &Name) -> Vec<(Name, Vec<String>)> {
        let causes = snapshot.services.iter();
        let causes = causes.filter(|seen| is_cause(seen) || seen.name == *service);
        let lines = |name: &Name, run| closing_lines(&self.paths.log(name), run, LAST_LINES);
        causes
            .filter_map(|seen| Some((seen.name.clone(), lines(&seen.name, seen.run).ok()?)))
            .collect()
    }
}

impl Ended {
    /// Whether everything got ready.
    pub(super) fn is_ready(&self) -> bool {
        match self.outcome {
            Outcome::Ready => true,
            Outcome::Failed | Outcome::BuildFailed | Outcome::Interrupted(_) => false,
        }
    }

    /// Whether the service failed, and not because of another one.
    pub(super) fn own_failure(&self, service: &Name) -> bool {
        self.snapshot.service(service).is_some_and(is_cause)
    }

    /// Why another service failed.
    pub(super) fn others_failure(&self, service: &Name) -> Option<String> {
        let others = self.failures().into_iter().find(|failed| failed.service != *service);
        others.map(|Failed { service, reason, .. }| format!("`{service}` failed: {reason}"))
    }

    /// Every service that failed for itself.
    pub(super) fn failures(&self) -> Vec<Failed> {
        let failed = self.snapshot.services.iter().filter(|seen| is_cause(seen));
        failed
            .map(|seen| Failed {
                service: seen.name.clone(),
                reason: seen.reason.clone().unwrap_or_else(|| phase(seen.phase)),
                last_lines: self.lines_of(&seen.name),
            })
            .collect()
    }

    fn lines_of(&self, service: &Name) -> Vec<String> {
        let found = self.logs.iter().find(|(name, _)| name == service);
        found.map(|(_, lines)| lines.clone()).unwrap_or_default()
    }
}

fn phase(phase: Phase) -> String {
    format!("it is {}", phase.as_str())
}
