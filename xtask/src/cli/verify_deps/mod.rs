//! `verify-deps`: tests whether services declare exactly the dependencies that they need to start.
//!
//! It brings each service up with its declared dependencies, then once without each of them. Each
//! trial uses an isolated stack with empty data. Programs are built once. It edits no metadata and
//! misses dependencies that a service needs only after its start.

mod trial;

use std::time::Duration;

use clap::Args;
use xtask_core::plan::{Dependency, Inseparable, Program, Request, Service};

use xtask::cli::engine::check_machine;
use xtask::cli::interrupt::Interrupts;
use xtask::cli::load::{self, Loaded};
use xtask::cli::plan_args::{BuildArgs, StackArgs};
use xtask::cli::up::build::Build;
use xtask::cli::up::target;
use xtask::cli::{Exit, Global, block_on, print, stack};
use xtask::session::isolated;
use xtask::view::style::BUSY;

use self::trial::{TrialResult, Trials};
use crate::view::verify::{Tried, Verdict, Verified, VerifyJson, text, trouble};

/// The minimum time for a service to become ready without a dependency.
const MINIMUM_LIMIT: Duration = Duration::from_secs(5);

/// A service may take this many times longer without a dependency than with all of them.
const LIMIT_FACTOR: u32 = 10;

#[derive(Debug, Args)]
pub(crate) struct VerifyDepsArgs {
    /// Verify these services [default: those that `up` starts]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackArgs,
    #[command(flatten)]
    build: BuildArgs,
}

pub(crate) fn run(global: &Global, args: &VerifyDepsArgs) -> anyhow::Result<Exit> {
    stack::refuse_name(global, "verify-deps")?;
    let root = stack::workspace_root(global)?;
    isolated::sweep(&root);
    let paths = isolated::fresh(&root)?;
    let mut own = global.clone();
    own.stack = paths.stack();
    let shape = |request: &mut Request| {
        args.stack.shape(request);
        args.build.shape(request);
    };
    let loaded = load::plan(&own, &args.services, shape)?;
    target::refuse_shared(&loaded, args.build.profile(), "verify-deps")?;
    block_on(verify(args, &loaded))
}

async fn verify(args: &VerifyDepsArgs, loaded: &Loaded) -> anyhow::Result<Exit> {
    check_machine(&loaded.plan).await?;
    let mut interrupts = Interrupts::new()?;
    let mut programs = Vec::new();
    let mut build = Build::start(loaded, false)?;
    let add = async |services, program| {
        programs.push((services, program));
        Ok(())
    };
    build.programs(&mut interrupts, add).await?;
    let mut trials = Trials { plan: &loaded.plan, paths: &loaded.paths, programs, interrupts };
    let mut services = Vec::new();
    for service in chosen(args, loaded) {
        services.push(trials.verify(service).await?);
    }
    let all_ready = services.iter().all(|verified| verified.ready);
    let exit = if all_ready { Exit::DONE } else { Exit::FAILED };
    print::lines(&trouble(&services));
    match args.json {
        true => print::json_pretty(&VerifyJson { exit_code: exit.code(), services })?,
        false => print::out(&text(&services))?,
    }
    Ok(exit)
}

/// The named services, or all of the plan, except external ones.
fn chosen<'a>(args: &VerifyDepsArgs, loaded: &'a Loaded) -> impl Iterator<Item = &'a Service> {
    let is_all = args.services.is_empty();
    let wanted = move |service: &&Service| is_all || loaded.plan.wanted.contains(&service.name);
    let started = |service: &&Service| service.program != Program::External;
    loaded.plan.services.iter().filter(wanted).filter(started)
}

impl Trials<'_> {
    async fn verify(&mut self, service: &Service) -> anyhow::Result<Verified> {
        let name = &service.name;
        print::progress(BUSY, "Verifying", &format!("{name} with its declared dependencies"));
        let alone = self.bring_up(&self.plan.alone(name), name).await?;
        let mut verified = alone.verified(service);
        if let Some(ready) = verified.ready_ms.map(Duration::from_millis) {
            for edge in &service.depends_on {
                verified.dependencies.push(self.without(service, edge, ready).await?);
            }
        }
        Ok(verified)
    }

    /// Brings a service up without one of its dependencies.
    async fn without(
        &mut self,
        service: &Service,
        edge: &Dependency,
        ready: Duration,
    ) -> anyhow::Result<Tried> {
        let (name, on) = (&service.name, &edge.on);
        let tried = |verdict, reason: Option<String>, ready_ms| Tried {
            on: on.clone(),
            declared: edge.declared.clone(),
            verdict,
            ready_ms,
            reason,
        };
        let limit = ready.saturating_mul(LIMIT_FACTOR).max(MINIMUM_LIMIT);
        let (part, _held) = match self.plan_without(name, on, limit)? {
            Ok(part) => part,
            Err(why) => {
                let reason = match why {
                    Inseparable::ReadyAtOnce => {
                        "it has no probe, so it is ready as soon as it runs"
                    }
                    Inseparable::Shared => "another dependency needs it too",
                };
                return Ok(tried(Verdict::NotTried, Some(reason.to_owned()), None));
            }
        };
        print::progress(BUSY, "Verifying", &format!("{name} without {on}"));
        let trial = self.bring_up(&part, name).await?;
        let own = trial.snapshot.service(name);
        Ok(match (trial.is_ready(), trial.own_failure(name)) {
            (true, _) => tried(Verdict::Unneeded, None, own.and_then(|own| own.ready_ms)),
            (false, true) => tried(Verdict::Needed, own.and_then(|own| own.reason.clone()), None),
            (false, false) => tried(Verdict::NotTried, trial.others_failure(name), None),
        })
    }
}

impl TrialResult {
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
}
