//! `up`: builds and starts services, then stays in the foreground or leaves.
//!
//! The process that the user runs is a client: the supervisor owns the stack.

pub(crate) mod bring_up;
pub(crate) mod build;
mod fail;
mod hold;
pub(crate) mod target;
pub(crate) mod tell;

use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgGroup, Args};
use tokio::time::Instant;
use xtask_client::logs::Start;
use xtask_client::protocol::Request;

use self::bring_up::{BringUp, Outcome};
use self::build::Build;
use self::tell::{Listener, Teller};
use super::exit::Exit;
use super::faults::FaultArgs;
use super::follow::{Extent, Follower};
use super::image;
use super::interrupt::Interrupts;
use super::load::{self, Loaded};
use super::plan_args::{BuildArgs, PlaceArgs, PlanArgs};
use super::{Global, block_on, exit_of, locate, print};
use crate::driver::Record;
use crate::session::launch::{LaunchSettings, Wait, connect_or_launch};
use crate::view;
use crate::view::style::{BUSY, WARN};

/// `up`
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("chance").arg("start_order"))]
pub(crate) struct UpArgs {
    /// The services; what they depend on comes with them [default: those of the workspace's
    /// metadata, or all]
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Return when everything is ready, and leave it running
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// One JSON event a line; with `--dry-run` the plan
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not build: start the programs of an earlier build
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Keep running what can run when something fails
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Stop processes of the same programs that were started by hand, to start ours
    #[arg(long)]
    pub(crate) replace: bool,
    /// Write every event of the stack and its effects there, for `replay`. Secrets stand in it
    /// as they are, so that only you can read the file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Shut down when this process is gone; only when this starts the stack
    #[arg(long, value_name = "PID", hide = true)]
    until_pid: Option<u32>,
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    build: BuildArgs,
    #[command(flatten)]
    faults: FaultArgs,
    /// Arguments for the one named service
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &UpArgs) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let outcome = prepared(global, args);
    if args.json && !args.dry_run {
        // However it ends, a program hears of it.
        let exit = outcome.as_ref().copied().unwrap_or_else(exit_of);
        block_on(async {
            tell::end(began, exit).await;
            Ok(())
        })?;
    }
    outcome
}

fn prepared(global: &Global, args: &UpArgs) -> anyhow::Result<Exit> {
    let loaded = load::plan(global, &args.plan, &args.services, |request| {
        args.place.shape(request);
        args.build.shape(args.no_build, request);
        args.faults.shape(request);
        request.args.clone_from(&args.args);
    })?;
    let mut loaded = match loaded {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    loaded.plan.replace = args.replace;
    if args.dry_run {
        match args.json {
            true => print::json_pretty(&view::plan::json(&loaded.plan))?,
            false => print::out(&view::plan::text(&loaded.plan))?,
        }
        return Ok(Exit::DONE);
    }
    if let Some(exit) = target::refuse_shared(&loaded, args.build.profile(), "up") {
        return Ok(exit);
    }
    let record = match &args.record {
        Some(path) => Some(
            Record::prepare(path)
                .with_context(|| format!("cannot write the record `{}`", path.display()))?,
        ),
        None => None,
    };
    let settings = LaunchSettings {
        workspace: PathBuf::from(&loaded.plan.workspace),
        until_pid: args.until_pid,
        record,
    };
    block_on(async {
        if let Some(exit) = image::refuse_without_engine(&loaded.plan).await? {
            return Ok(exit);
        }
        up(args, &loaded, settings).await
    })
}

async fn up(args: &UpArgs, loaded: &Loaded, settings: LaunchSettings) -> anyhow::Result<Exit> {
    let mut interrupts = Interrupts::new()?;
    let plan = &loaded.plan;
    let listener = if args.json { Listener::Program } else { Listener::Person };
    let teller = Teller::new(listener, plan, args.detach)?;
    // Cargo starts before the supervisor is looked for: it takes longer.
    let mut build = match args.no_build {
        true => {
            let target = &loaded.files.target_directory;
            Build::of_earlier_programs(plan, target, args.build.profile())
        }
        false => Build::start(plan, args.keep_going)?,
    };
    let connecting = connect_or_launch(&loaded.paths, &settings, |wait| match wait {
        Wait::Answer => locate::tell_silence(&loaded.paths),
        Wait::End => {
            print::say(BUSY, "Waiting", "for the stack to be down: it is being stopped");
        }
    });
    let session = tokio::select! {
        session = connecting => session?,
        exit = interrupts.next() => {
            build.stop().await;
            return Ok(exit);
        }
    };
    if settings.record.is_some() && !session.launched {
        build.stop().await;
        let stack = &plan.stack;
        let what = format!("stack `{stack}` runs already: it can be recorded from its start only");
        print::error_with_hint(&what, &format!("`cargo xtask down --stack {stack}`, then again"));
        return Ok(Exit::USAGE);
    }
    if let Some(leftovers) = &session.leftovers {
        locate::tell_leftovers(&loaded.paths, leftovers);
    }
    // Lines of this start are shown too, once it is clear that it went well.
    let follower = match args.detach {
        true => None,
        false => Some(Follower::new(&loaded.paths, &names_of(plan), &Start::Now, Extent::Future)?),
    };
    let launched = session.launched;
    let mut up = BringUp::new(plan, session, build, teller, args.keep_going);
    let outcome = up.run(launched, &mut interrupts).await;
    finish(&mut up, outcome, follower, &mut interrupts, loaded).await
}

async fn finish(
    up: &mut BringUp<'_>,
    outcome: anyhow::Result<Outcome>,
    follower: Option<Follower>,
    interrupts: &mut Interrupts,
    loaded: &Loaded,
) -> anyhow::Result<Exit> {
    let launched = up.session.launched;
    let failed = match outcome {
        Err(error) => {
            up.build.stop().await;
            return Err(error);
        }
        Ok(Outcome::Interrupted(exit)) => {
            up.build.stop().await;
            if launched {
                return hold::end(up, None, interrupts, exit).await;
            }
            return Ok(exit);
        }
        Ok(Outcome::Ready) => None,
        Ok(Outcome::Failed) => {
            up.build.stop().await;
            Some(fail::tell(up, &loaded.paths).await?)
        }
        Ok(Outcome::BuildFailed) => {
            print::say(WARN, "Kept", "what runs, with the programs of the build before");
            Some(Exit::BUILD)
        }
    };
    match failed {
        Some(exit) if launched && !up.keep_going => {
            return hold::end(up, None, interrupts, exit).await;
        }
        Some(exit) if follower.is_none() => {
            release(up).await?;
            return Ok(exit);
        }
        Some(exit) if !up.keep_going => return Ok(exit),
        Some(_) | None => {}
    }
    up.show()?;
    match follower {
        Some(follower) => hold::foreground(up, follower, interrupts).await,
        None => {
            release(up).await?;
            Ok(Exit::DONE)
        }
    }
}

/// From now on the stack lives without this client.
async fn release(up: &mut BringUp<'_>) -> anyhow::Result<()> {
    if up.session.launched {
        up.session.connection.call(Request::Hold { hold: false }).await?;
    }
    Ok(())
}

fn names_of(plan: &xtask_core::plan::Plan) -> Vec<String> {
    plan.services.iter().map(|service| service.name.to_string()).collect()
}
