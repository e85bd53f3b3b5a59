//! A running stack, and those of its services that the command line names: where
//! `restart`, `wait` and `down` begin.
//!
//! It asks the supervisor for nothing but its state.

use xtask_client::snapshot::Snapshot;
use xtask_core::name::Name;

use super::exit::Exit;
use super::{Global, locate, print};
use crate::supervisor::launch::Session;

/// A watching session and the services named, or all that are wanted; else the words that
/// nothing runs, or that a service is not known.
///
/// # Errors
/// As for [`locate::stack_paths`], and when a supervisor is there and does not answer.
pub(crate) async fn session(
    global: &Global,
    services: &[String],
) -> anyhow::Result<Result<(Session, Vec<Name>), Exit>> {
    let paths = locate::stack_paths(global)?;
    let session = match locate::watch(&paths).await? {
        Ok(session) => session,
        Err(exit) => return Ok(Err(exit)),
    };
    Ok(named(&session.snapshot, services).map(|names| (session, names)))
}

/// The services of those names, or those that are wanted; else the words that one is not
/// known, and which are.
pub(crate) fn named(snapshot: &Snapshot, asked: &[String]) -> Result<Vec<Name>, Exit> {
    if asked.is_empty() {
        let wanted = snapshot.services.iter().filter(|service| service.wanted);
        return Ok(wanted.map(|service| service.name.clone()).collect());
    }
    let known = |name: &String| match snapshot.service(name) {
        Some(service) => Ok(service.name.clone()),
        None => Err(unknown(name, snapshot)),
    };
    asked.iter().map(known).collect()
}

fn unknown(name: &str, snapshot: &Snapshot) -> Exit {
    let known: Vec<&str> = snapshot.services.iter().map(|service| &*service.name).collect();
    print::error_with_hint(
        &format!("no service `{name}` in stack `{}`", snapshot.stack),
        &format!("its services are {}", known.join(", ")),
    );
    Exit::USAGE
}
