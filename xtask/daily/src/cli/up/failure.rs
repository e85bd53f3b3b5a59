//! Reports why services failed during an `up`, and chooses its exit code.

use std::io;
use xtask_core::sorted::SortedMap;

use tokio::time::Instant;
use xtask_control::StackPaths;
use xtask_core::plan::Plan;
use xtask_core::snapshot::{Failure, Phase, ServiceSnapshot};
use xtask_core::terms::Name;
use xtask_logs::closing_lines;

use super::bring_up::BringUp;
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::view::cause::Cause;
use crate::view::failure::{failed_run, failures, has_log, is_cause};

/// How many of a failed service's last lines are shown.
const LAST_LINES: usize = 20;

/// How many lines are shown of a run that ended early and is started again.
const CAUSE_LINES: usize = 5;

/// Whether a change is the end of a run that was never ready, after which the service is started
/// again.
pub(super) fn is_early_end(before: Option<&ServiceSnapshot>, now: &ServiceSnapshot) -> bool {
    let is_new = before.is_none_or(|b| (b.phase, b.run) != (now.phase, now.run));
    is_new && now.phase == Phase::Backoff && now.ready_ms.is_none()
}

/// What the last run of a service printed that explains its end.
///
/// # Errors
/// When its log cannot be read.
pub(super) fn cause(
    plan: &Plan,
    known: &[Name],
    paths: &StackPaths,
    service: &ServiceSnapshot,
) -> io::Result<Cause> {
    let lines = closing_lines(&paths.log(&service.name), service.run, CAUSE_LINES)?;
    Ok(Cause::of(plan, known, &service.name, lines))
}

/// Prints what failed and why, and returns the exit code.
pub(crate) async fn report(up: &mut BringUp<'_>, paths: &StackPaths) -> anyhow::Result<Exit> {
    // Dependents fail a moment after the cause, so the state is read again.
    let snapshot = up.session.connection.status().await?;
    let before = std::mem::replace(&mut up.session.snapshot, snapshot);
    let dead = up.arrivals.dead(Instant::now()).map(|dead| {
        let reason = dead.reason.as_deref().map(|reason| {
            let (exit, clue) = reason.split_at(reason.find(';').unwrap_or(reason.len()));
            format!("{exit} right after its start{clue}")
        });
        let (phase, failure) = (Phase::Failed, Some(Failure::Start));
        ServiceSnapshot { phase, failure, reason, ..dead.clone() }
    });
    // What only this command found out.
    let silent = before.services.into_iter().filter(|service| service.phase == Phase::Unhealthy);
    for found in silent.chain(dead) {
        let mut services = up.session.snapshot.services.iter_mut();
        if let Some(service) = services.find(|service| service.name == found.name) {
            *service = found;
        }
    }
    let services = up.services();
    let mut causes = SortedMap::new();
    for service in services.iter().filter(|service| is_cause(service) && has_log(service)) {
        let lines = closing_lines(&paths.log(&service.name), failed_run(service), LAST_LINES)?;
        let cause = Cause::of(up.plan, &up.known, &service.name, lines);
        causes.insert(service.name.clone(), cause);
    }
    print::line(failures(up.plan, &services, &causes).trim_end());
    Ok(exit_code(&services))
}

/// A failed build decides before a held port, and a held port before a service that is not ready.
fn exit_code(services: &[&ServiceSnapshot]) -> Exit {
    let failed = |failure| {
        services.iter().any(|service| is_cause(service) && service.failure == Some(failure))
    };
    if failed(Failure::Build) {
        Exit::BUILD
    } else if [Failure::Port, Failure::Sibling, Failure::Unadopted].into_iter().any(failed) {
        Exit::PORT_HELD
    } else {
        Exit::NOT_READY
    }
}
