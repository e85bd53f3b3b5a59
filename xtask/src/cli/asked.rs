//! A running stack, and those of its services that the command line names: where
//! `restart`, `wait` and `down` begin.
//!
//! It asks the supervisor for nothing but its state.

use anyhow::Context as _;
use xtask_client::connection::update;
use xtask_client::snapshot::Snapshot;
use xtask_core::terms::Name;

use super::exit::Exit;
use super::{Global, block_on, locate, print};
use crate::session::launch::Session;

/// Acts on the services named, or on all that are wanted; else says that nothing runs, or that
/// one is not known. With `json` the stack with these services is printed when all is done, in
/// the manner of `status --json`.
///
/// # Errors
/// As for [`locate::stack_paths`], when a supervisor is there and does not answer, and those of
/// the action.
pub(crate) fn on_services(
    global: &Global,
    services: &[String],
    json: bool,
    act: impl AsyncFnOnce(&mut Session, &[Name]) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    block_on(async {
        let paths = locate::stack_paths(global)?;
        let mut session = match locate::watch(&paths).await? {
            Ok(session) => session,
            Err(exit) => return Ok(exit),
        };
        // A supervisor that has just been started has no plan yet.
        while session.snapshot.services.is_empty() {
            let answer = session.connection.next().await?;
            let answer = answer.context("the stack was shut down meanwhile")?;
            update(&mut session.snapshot, answer.reply);
        }
        let names = match named(&session.snapshot, services) {
            Ok(names) => names,
            Err(exit) => return Ok(exit),
        };
        let exit = act(&mut session, &names).await?;
        if json {
            let mut snapshot = session.snapshot;
            snapshot.services.retain(|service| names.contains(&service.name));
            print::json_pretty(&snapshot)?;
        }
        Ok(exit)
    })
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
