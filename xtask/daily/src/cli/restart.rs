//! `restart`: builds services and starts new runs of them, with today's metadata and the context
//! of this command.
//!
//! The build ends before anything changes, so a mistake leaves the old runs serving. With
//! `--no-build` it reads no manifest and repeats what runs.

use std::path::Path;
use xtask_core::sorted::SortedMap;

use clap_builder::{ArgMatches, Command};
use xtask_control::protocol::Request;
use xtask_core::plan::Plan;
use xtask_core::snapshot::{Failure, Phase, ServiceSnapshot, Snapshot};
use xtask_core::stack::LinkedProgram;
use xtask_core::terms::Name;
use xtask_core::terms::duration::measured;

use super::arguments::{Arguments, all, flag, words};
use super::error::Error;
use super::exit::Exit;
use super::interrupt::{Interrupts, exit_on_signal};
use super::load::{self, Loaded};
use super::up::build::Build;
use super::up::target;
use super::wait::until;
use super::{Global, block_on, context, engine, place, print, running};
use crate::session::connect::Session;
use crate::view::failure::is_well;
use crate::view::style::{BAD, GOOD, WARN};
use crate::workspace::planning::Scope;

pub(crate) struct RestartArgs {
    services: Vec<String>,
    no_build: bool,
    replace: bool,
    json: bool,
}

impl Arguments for RestartArgs {
    fn add(command: Command) -> Command {
        command.args([
            words("services", "SERVICE", "Restart these services; a job runs again").required(true),
            flag(
                "no-build",
                "Repeat what runs: the accepted programs with their present settings and \
                 environment",
            ),
            flag("replace", "Also stop processes that were started by hand, and replace them"),
            flag("json", "Print the services as `status --json` does when they are ready"),
        ])
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            services: all(matches, "services"),
            no_build: matches.get_flag("no-build"),
            replace: matches.get_flag("replace"),
            json: matches.get_flag("json"),
        }
    }
}

pub(crate) fn run(global: &Global, args: &RestartArgs) -> anyhow::Result<Exit> {
    if args.no_build {
        return running::with_services(
            global,
            &args.services,
            args.json,
            None,
            async |session, names| {
                let before = runs(&session.snapshot);
                let services = names.to_vec();
                session
                    .request(match args.replace {
                        true => Request::Replace { services },
                        false => Request::Restart { services },
                    })
                    .await?;
                restarted(session, names, &before).await
            },
        );
    }
    let inspected = load::inspect_kept(global, &args.services, Scope::Request, |_| {})?;
    place::settle(Path::new(&inspected.files.workspace.root), &inspected.paths)?;
    block_on(async {
        // A mistake in the metadata matters only to a stack that runs.
        let mut session = running::session(&inspected.paths).await?;
        let loaded = load::accept(inspected)?;
        let names = loaded.plan.wanted.clone();
        let before = runs(&session.snapshot);
        let programs = build(&mut session, &loaded).await?;
        let plan = part(loaded.plan, &names, &session.snapshot, args.replace);
        apply(&mut session, plan, programs).await?;
        let exit = restarted(&mut session, &names, &before).await?;
        running::print(session.snapshot, &names, args.json)?;
        Ok(exit)
    })
}

/// Builds the plan's programs. Returns each with the services that run it.
async fn build(
    session: &mut Session,
    loaded: &Loaded,
) -> anyhow::Result<Vec<(Vec<Name>, LinkedProgram)>> {
    let profile = loaded.kept.profile.as_deref().unwrap_or("dev");
    target::refuse_shared(loaded, profile, "restart")?;
    engine::check_machine(&loaded.plan).await?;
    let mut interrupts = Interrupts::new()?;
    let mut build = Build::start(loaded, false)?;
    if let Some(pid) = build.pid() {
        session.request(Request::Building { pid }).await?;
    }
    let mut programs = Vec::new();
    let built = build.programs(&mut interrupts, async |services, program| {
        programs.push((services, program));
        Ok(())
    });
    let built = built.await;
    exit_on_signal();
    if let Err(error) = built {
        if let Some(Error::Reported(Exit::BUILD)) = error.downcast_ref() {
            print::progress(WARN, "Kept", "the running services, because the build failed");
        }
        return Err(error);
    }
    Ok(programs)
}

/// Whether a service runs or is about to.
pub fn is_up(snapshot: &Snapshot, name: &Name) -> bool {
    let known = snapshot.service(name).filter(|service| service.wanted);
    known.is_some_and(|service| !matches!(service.phase, Phase::Failed | Phase::Stopped))
}

/// The part of the plan that starts: the named services, and what they need and does not run.
fn part(mut plan: Plan, names: &[Name], snapshot: &Snapshot, replace: bool) -> Plan {
    let is_part = |name: &Name| names.contains(name) || !is_up(snapshot, name);
    plan.services.retain(|service| is_part(&service.name));
    plan.restart = names.to_vec();
    plan.replace = replace;
    plan
}

/// Sends the plan and its programs, and waits until the supervisor has accepted or refused them.
pub async fn apply(
    session: &mut Session,
    plan: Plan,
    programs: Vec<(Vec<Name>, LinkedProgram)>,
) -> anyhow::Result<()> {
    context::send(session).await?;
    let names: Vec<Name> = plan.services.iter().map(|service| service.name.clone()).collect();
    session.request(Request::Apply { plan: Box::new(plan), hold: false, flags: None }).await?;
    for (mut services, program) in programs {
        services.retain(|service| names.contains(service));
        session.request(Request::Linked { services, program }).await?;
    }
    session.request(Request::BuildEnded { ok: true }).await?;
    Ok(())
}

/// The last run of each service.
fn runs(snapshot: &Snapshot) -> SortedMap<Name, u64> {
    let run = |service: &ServiceSnapshot| (service.name.clone(), service.run);
    snapshot.services.iter().map(run).collect()
}

/// Waits until each service has a new run that is ready, or keeps its run, and reports it.
async fn restarted(
    session: &mut Session,
    names: &[Name],
    before: &SortedMap<Name, u64>,
) -> anyhow::Result<Exit> {
    let settled = |service: &ServiceSnapshot| !service.phase.is_on_the_way() && !service.unsettled;
    let mut exit = until(session, names, settled).await?;
    let services = names.iter().filter_map(|name| session.snapshot.service(name));
    for service in services.filter(|service| is_well(service)) {
        if before.get(&service.name) == Some(&service.run) {
            let reason = service.reason.as_deref().unwrap_or("its run continues");
            print::progress(BAD, "Kept", &format!("{}: {reason}", service.name));
            exit = match service.failure {
                None | Some(Failure::Build) => Exit::BUILD,
                Some(Failure::Port | Failure::Sibling | Failure::Unadopted) => Exit::PORT_HELD,
                Some(Failure::Start | Failure::Timeout | Failure::Died | Failure::Dependency) => {
                    Exit::NOT_READY
                }
            };
        } else {
            let took = measured(service.ready_ms.unwrap_or(0));
            print::progress(GOOD, "Restarted", &format!("{} in {took}", service.name));
        }
    }
    Ok(exit)
}
