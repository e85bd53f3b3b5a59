//! `restart`: stops services and starts the programs of the last accepted build.
//!
//! It builds nothing. `up` builds, and restarts what changed.

use std::collections::BTreeMap;

use clap::Args;
use xtask_client::protocol::Request;
use xtask_client::snapshot::Phase;
use xtask_core::terms::Name;
use xtask_core::terms::duration::measured;

use super::exit::Exit;
use super::wait::until;
use super::{Global, print, running};
use crate::view::style::GOOD;

#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// Restart these services; a job runs again
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    /// Also stop processes that were started by hand, and replace them
    #[arg(long)]
    replace: bool,
    /// Print the services as `status --json` does when they are ready
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &RestartArgs) -> anyhow::Result<Exit> {
    running::with_services(global, &args.services, args.json, async |session, names| {
        let run_of = |name: &Name| session.snapshot.service(name).map_or(0, |service| service.run);
        let before: BTreeMap<Name, u64> =
            names.iter().map(|name| (name.clone(), run_of(name))).collect();
        let services = names.to_vec();
        let request = match args.replace {
            true => Request::Replace { services },
            false => Request::Restart { services },
        };
        session.request(request).await?;
        let exit = until(session, names, |service| {
            let new_run = before.get(&service.name).is_some_and(|&run| service.run > run);
            !service.phase.is_on_the_way() && (new_run || service.phase == Phase::Failed)
        })
        .await?;
        for service in names.iter().filter_map(|name| session.snapshot.service(name)) {
            if matches!(service.phase, Phase::Ready | Phase::Succeeded) {
                let took = measured(service.ready_ms.unwrap_or(0));
                print::progress(GOOD, "Restarted", &format!("{} in {took}", service.name));
            }
        }
        Ok(exit)
    })
}
