//! `verify-deps`: whether what services declare is what they need to start. Each is brought
//! up alone with its declared closure, and then once for each dependency without that one.
//!
//! Every try is an isolated stack with empty data; programs are built once. It edits no
//! metadata: what a service needs later than at its start is not seen here.

mod build;
mod trial;

use std::time::Duration;

use clap::Args;
use xtask_core::plan::{Dependency, Inseparable, Program, Request, Service};
use xtask_core::terms::Name;

use self::trial::{Ended, Trials};
use super::exit::Exit;
use super::image::refuse_without_engine;
use super::interrupt::Interrupts;
use super::load::{self, Loaded};
use super::plan_args::{BuildArgs, PlaceArgs, PlanArgs};
use super::up::target;
use super::{Global, block_on, isolated, locate, print};
use crate::view::style::BUSY;
use crate::view::verify::{Tried, Verdict, Verified, VerifyJson, text, trouble};

/// The least time that a service has to get ready without a dependency.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// So many times longer than with all dependencies it may take to get ready without one.
const PATIENCE: u32 = 10;

/// `verify-deps`
#[derive(Debug, Args)]
pub(crate) struct VerifyDepsArgs {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// What was found as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    build: BuildArgs,
}

pub(crate) fn run(global: &Global, args: &VerifyDepsArgs) -> anyhow::Result<Exit> {
    if let Some(exit) = isolated::refuse_name(global, "verify-deps", "leave `--stack` out") {
        return Ok(exit);
    }
    let root = locate::workspace_root(global)?;
    isolated::sweep(&root);
    let paths = isolated::fresh(&root)?;
    let own = Global { stack: paths.stack(), ..global.clone() };
    let shape = |request: &mut Request| {
        args.place.shape(request);
        args.build.shape(false, request);
    };
    let loaded = match args.services.is_empty() {
        true => load::everything(&own, &args.plan, shape)?,
        false => load::plan(&own, &args.plan, &args.services, shape)?,
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    if let Some(exit) = target::refuse_shared(&loaded, args.build.profile(), "verify-deps") {
        return Ok(exit);
    }
    block_on(verify(args, &loaded))
}

async fn verify(args: &VerifyDepsArgs, loaded: &Loaded) -> anyhow::Result<Exit> {
    if let Some(exit) = refuse_without_engine(&loaded.plan).await? {
        return Ok(exit);
    }
    let mut interrupts = Interrupts::new()?;
    let programs = match build::all(&loaded.plan, &mut interrupts).await? {
        Ok(programs) => programs,
        Err(exit) => return Ok(exit),
    };
    let mut trials = Trials { plan: &loaded.plan, paths: &loaded.paths, programs, interrupts };
    let mut services = Vec::new();
    for service in chosen(loaded) {
        match trials.verify(service).await? {
            Ok(verified) => services.push(verified),
            Err(exit) => return Ok(exit),
        }
    }
    let exit = match services.iter().all(|verified| verified.ready) {
        true => Exit::DONE,
        false => Exit::FAILED,
    };
    print::tell_all(&trouble(&services));
    match args.json {
        true => print::json_pretty(&VerifyJson { exit_code: exit.code(), services })?,
        false => print::out(&text(&services))?,
    }
    Ok(exit)
}

/// The services that were asked for and that somebody starts.
fn chosen(loaded: &Loaded) -> impl Iterator<Item = &Service> {
    let wanted = |service: &&Service| loaded.plan.wanted.contains(&service.name);
    let started = |service: &&Service| service.program != Program::External;
    loaded.plan.services.iter().filter(wanted).filter(started)
}

impl Trials<'_> {
    /// Everything about one service; the exit code if somebody wants to end.
    async fn verify(&mut self, service: &Service) -> anyhow::Result<Result<Verified, Exit>> {
        let name = &service.name;
        print::say(BUSY, "Verifying", &format!("{name} alone with what it declares"));
        let alone = match self.bring_up(&self.plan.alone(name), name).await? {
            Ok(ended) => ended,
            Err(exit) => return Ok(Err(exit)),
        };
        let mut verified = alone.verified(service);
        if let (true, Some(ready)) = (verified.ready, alone.ready_time(name)) {
            for edge in &service.depends_on {
                match self.without(service, edge, ready).await? {
                    Ok(tried) => verified.dependencies.push(tried),
                    Err(exit) => return Ok(Err(exit)),
                }
            }
        }
        Ok(Ok(verified))
    }

    /// What becomes of a service without one of its dependencies.
    async fn without(
        &mut self,
        service: &Service,
        edge: &Dependency,
        ready: Duration,
    ) -> anyhow::Result<Result<Tried, Exit>> {
        let (name, on) = (&service.name, &edge.on);
        let tried = |verdict, reason: Option<String>, ready_ms| Tried {
            on: on.clone(),
            declared: edge.declared.clone(),
            verdict,
            ready_ms,
            reason,
        };
        let limit = ready.saturating_mul(PATIENCE).max(LEAST_PATIENCE);
        let (part, _held) = match self.plan_without(name, on, limit)? {
            Ok(part) => part,
            Err(why) => return Ok(Ok(tried(Verdict::NotTried, Some(words(why)), None))),
        };
        print::say(BUSY, "Verifying", &format!("{name} without {on}"));
        Ok(self.bring_up(&part, name).await?.map(|ended| {
            let own = ended.snapshot.service(name);
            let reason = own.and_then(|own| own.reason.clone());
            match (ended.is_ready(), ended.own_failure(name)) {
                (true, _) => tried(Verdict::Unneeded, None, own.and_then(|own| own.ready_ms)),
                (false, true) => tried(Verdict::Needed, reason, None),
                (false, false) => tried(Verdict::NotTried, ended.others_failure(name), None),
            }
        }))
    }
}

impl Ended {
    fn verified(&self, service: &Service) -> Verified {
        let name = &service.name;
        let own = self.snapshot.service(name);
        let calls = self.snapshot.undeclared_calls().into_iter();
        Verified {
            service: name.clone(),
            declared: service.declared.clone(),
            ready: self.is_ready(),
            ready_ms: own.and_then(|own| own.ready_ms).filter(|_| self.is_ready()),
            failures: self.failures(),
            dependencies: Vec::new(),
            undeclared: calls.filter(|call| call.from == *name).map(|call| call.to).collect(),
        }
    }

    fn ready_time(&self, name: &Name) -> Option<Duration> {
        self.snapshot.service(name)?.ready_ms.map(Duration::from_millis)
    }
}

fn words(why: Inseparable) -> String {
    match why {
        Inseparable::ReadyAtOnce => "it has no probe, so it is ready as soon as it runs",
        Inseparable::Shared => "something else that it depends on needs it too",
    }
    .to_owned()
}
