//! One trial: brings a part of the plan up on a new stack, records the state, and deletes the
//! stack.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use xtask_control::StackPaths;
use xtask_core::plan::{Inseparable, Plan};
use xtask_core::snapshot::Snapshot;
use xtask_core::stack::LinkedProgram;
use xtask_core::terms::Name;
use xtask_logs::closing_lines;

use xtask::cli::error::Error;
use xtask::cli::interrupt::Interrupts;
use xtask::cli::stack;
use xtask::cli::up::bring_up::{BringUp, BringUpResult};
use xtask::cli::up::build::{Build, BuildEvent};
use xtask::cli::up::reporter::{Output, Reporter};
use xtask::session::launch::{LaunchSettings, connect_or_launch};
use xtask::system::socket::refusing_port;
use xtask::view::failure::is_cause;

use crate::view::verify::Failed;

/// How many last lines of a failed service are kept.
const LAST_LINES: usize = 20;

pub(super) struct Trials<'a> {
    pub(super) plan: &'a Plan,
    /// The paths of the stack, which each trial creates and deletes.
    pub(super) paths: &'a StackPaths,
    /// The services of each built program.
    pub(super) programs: Vec<(Vec<Name>, LinkedProgram)>,
    pub(super) interrupts: Interrupts,
}

/// The state of a trial just before its stack was shut down.
pub(super) struct TrialResult {
    bring_up: BringUpResult,
    pub(super) snapshot: Snapshot,
    /// The last lines of each service that caused a failure.
    logs: BTreeMap<Name, Vec<String>>,
}

impl Trials<'_> {
    /// The part of the plan without a dependency, and the sockets that reserve its ports and refuse
    /// connections.
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
            let (socket, number) =
                refusing_port(&port.host).context("failed to reserve a free port")?;
            held.push(socket);
            numbers.push_back(number);
        }
        let next = |_: &str| numbers.pop_front().unwrap_or_default();
        Ok(self.plan.alone_without(service, dependency, limit, next).map(|part| (part, held)))
    }

    /// Brings a part up and deletes its stack again.
    pub(super) async fn bring_up(
        &mut self,
        part: &Plan,
        service: &Name,
    ) -> anyhow::Result<TrialResult> {
        let settings = LaunchSettings {
            workspace: PathBuf::from(&part.workspace),
            until_pid: Some(std::process::id()),
            record: None,
        };
        let session = connect_or_launch(self.paths, &settings, |_| {}).await?;
        let reporter = Reporter::new(Output::Silent, part, true)?;
        let mut up = BringUp::new(part, session, self.build_of(part), reporter, false);
        let result = match up.run(true, &mut self.interrupts, None).await {
            Ok(BringUpResult::Interrupted(exit)) => Err(Error::Reported(exit).into()),
            Ok(bring_up) => match up.session.connection.status().await {
                Ok(snapshot) => {
                    let logs = self.logs(&snapshot, service);
                    Ok(TrialResult { bring_up, snapshot, logs })
                }
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        stack::take_down(up.session, &mut self.interrupts).await;
        stack::delete(self.paths);
        result
    }

    /// The built programs of the part.
    fn build_of(&self, part: &Plan) -> Build {
        let of_part = |(services, program): &(Vec<Name>, LinkedProgram)| {
            let services = services.iter().filter(|name| part.service(name).is_some());
            let (services, program): (Vec<Name>, _) =
                (services.cloned().collect(), program.clone());
            (!services.is_empty()).then_some(BuildEvent::Linked { services, program, fresh: true })
        };
        let linked = self.programs.iter().filter_map(of_part);
        Build::Known(linked.chain([BuildEvent::Ended { ok: true }]).collect())
    }

    fn logs(&self, snapshot: &Snapshot, service: &Name) -> BTreeMap<Name, Vec<String>> {
        let causes = snapshot.services.iter();
        let causes = causes.filter(|seen| is_cause(seen) || seen.name == *service);
        let lines = |name: &Name, run| closing_lines(&self.paths.log(name), run, LAST_LINES);
        causes
            .filter_map(|seen| Some((seen.name.clone(), lines(&seen.name, seen.run).ok()?)))
            .collect()
    }
}

impl TrialResult {
    pub(super) fn is_ready(&self) -> bool {
        self.bring_up == BringUpResult::Ready
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

    /// Every service that failed, except those that failed because of another one.
    pub(super) fn failures(&self) -> Vec<Failed> {
        let failed = self.snapshot.services.iter().filter(|seen| is_cause(seen));
        failed
            .map(|seen| Failed {
                service: seen.name.clone(),
                reason: match &seen.reason {
                    Some(reason) => reason.clone(),
                    None => format!("it is {}", seen.phase.as_str()),
                },
                started: seen.started,
                last_lines: self.logs.get(&seen.name).cloned().unwrap_or_default(),
            })
            .collect()
    }
}
