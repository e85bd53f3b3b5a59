//! Reports why an `up` failed, and chooses its exit code.

use std::collections::BTreeMap;

use xtask_client::StackPaths;
use xtask_client::logs::closing_lines;
use xtask_client::snapshot::{Failure, ServiceSnapshot};

use super::bring_up::BringUp;
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::view::failure::{failures, has_log, is_cause};

/// How many of a failed service's last lines are shown.
const LAST_LINES: usize = 20;

/// Prints what failed and why, and returns the exit code.
pub(crate) async fn report(up: &mut BringUp<'_>, paths: &StackPaths) -> anyhow::Result<Exit> {
    // Dependents fail a moment after the cause, so the state is read again.
    up.session.snapshot = up.session.connection.status().await?;
    let services = up.services();
    let mut logs = BTreeMap::new();
    for service in services.iter().filter(|service| is_cause(service) && has_log(service)) {
        let lines = closing_lines(&paths.log(&service.name), service.run, LAST_LINES)?;
        logs.insert(service.name.clone(), lines);
    }
    print::line(failures(up.plan, &services, &logs).trim_end());
    Ok(exit_code(&services))
}

/// A failed build decides before a held port, and a held port before a service that is not ready.
fn exit_code(services: &[&ServiceSnapshot]) -> Exit {
    let failed = |failure| {
        services.iter().any(|service| is_cause(service) && service.failure == Some(failure))
    };
    if failed(Failure::Build) {
        Exit::BUILD
    } else if failed(Failure::Port) || failed(Failure::Unadopted) {
        Exit::PORT_HELD
    } else {
        Exit::NOT_READY
    }
}
