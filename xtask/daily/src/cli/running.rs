//! The services of a running stack that the command line names, for `restart`, `wait` and `down`.

use tokio::time::{Instant, timeout_at};
use xtask_control::StackPaths;
use xtask_control::connection::update;
use xtask_core::snapshot::Snapshot;
use xtask_core::terms::Name;

use super::error::Error;
use super::exit::Exit;
use super::{Global, block_on, place, print, stack};
use crate::session::connect::Session;
use crate::view::style::BAD;

/// Runs `act` on the named services, or on all wanted ones. With `json` it prints the stack with
/// only these services afterwards, as `status --json` does. A supervisor that does not answer until
/// `deadline` is as good as services that are not ready.
pub(crate) fn with_services(
    global: &Global,
    services: &[String],
    json: bool,
    deadline: Option<Instant>,
    act: impl AsyncFnOnce(&mut Session, &[Name]) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    block_on(async {
        let paths = place::find_stack(global)?.paths;
        let connecting = session(&paths);
        let mut session = match deadline {
            None => connecting.await?,
            Some(deadline) => match timeout_at(deadline, connecting).await {
                Ok(session) => session?,
                Err(_) => {
                    let text = format!("waiting for the supervisor of stack `{}`", paths.stack());
                    print::progress(BAD, "Timed out", &text);
                    print::hint("wait longer: `--timeout 30s`");
                    return Ok(Exit::NOT_READY);
                }
            },
        };
        let names = named(&session.snapshot, services)?;
        let exit = act(&mut session, &names).await?;
        print(session.snapshot, &names, json)?;
        Ok(exit)
    })
}

/// Watches a running stack. Waits until it has a plan.
pub(crate) async fn session(paths: &StackPaths) -> anyhow::Result<Session> {
    let mut session = stack::watch(paths).await?;
    // A supervisor that has just started has no plan yet.
    while session.snapshot.services.is_empty() {
        let answer = session.connection.next().await?.ok_or(Error::ShutDown)?;
        update(&mut session.snapshot, answer.reply);
    }
    Ok(session)
}

/// With `json`, prints the stack with only these services, as `status --json` does.
pub(crate) fn print(mut snapshot: Snapshot, names: &[Name], json: bool) -> anyhow::Result<()> {
    if json {
        snapshot.services.retain(|service| names.contains(&service.name));
        print::json_pretty(&snapshot)?;
    }
    Ok(())
}

/// The services with these names, or all wanted ones.
pub(crate) fn named(snapshot: &Snapshot, names: &[String]) -> Result<Vec<Name>, Error> {
    if names.is_empty() {
        let wanted = snapshot.services.iter().filter(|service| service.wanted);
        return Ok(wanted.map(|service| service.name.clone()).collect());
    }
    let find = |name: &String| match snapshot.service(name) {
        Some(service) => Ok(service.name.clone()),
        None => Err(Error::UnknownService {
            service: name.clone(),
            stack: snapshot.stack.clone(),
            known: snapshot.services.iter().map(|service| service.name.to_string()).collect(),
        }),
    };
    names.iter().map(find).collect()
}
