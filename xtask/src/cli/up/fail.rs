//! What an `up` does when it failed: says why, and which exit code that is.

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

/// Says what failed and why.
///
/// # Errors
/// When the supervisor is gone.
pub(crate) async fn tell(up: &mut BringUp<'_>, paths: &StackPaths) -> anyhow::Result<Exit> {
    // The freshest state: who fails because of the failure shows a moment later.
    up.session.snapshot = up.session.connection.status().await?;
    let services = up.services();
    let mut logs = BTreeMap::new();
    for service in services.iter().filter(|service| is_cause(service) && has_log(service)) {
        let lines = closing_lines(&paths.log(&service.name), service.run, LAST_LINES)?;
        logs.insert(service.name.clone(), lines);
    }
    print::tell(failures(up.plan, &services, &logs).trim_end());
    Ok(exit_code(&services))
}

/// What cannot be built comes before what cannot be started, and that before what
/// did not get ready.
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
