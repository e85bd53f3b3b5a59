//! `up`: builds and starts services, then follows their logs or exits.
//!
//! This process is a client. The supervisor owns the stack.

mod arrivals;
pub mod bring_up;
pub mod build;
mod cargo_lines;
mod earlier;
pub mod failed_build;
mod failure;
mod hold;
mod interact;
pub mod library_path;
mod live;
pub mod logs;
pub mod reporter;
pub mod target;
mod timeline;
pub mod watch;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap_builder::{ArgGroup, ArgMatches, Command, value_parser};
use tokio::time::Instant;
use xtask_control::paths::DEFAULT_STACK;
use xtask_control::protocol::Request;
use xtask_core::plan::{self, KeptFlags};

use self::bring_up::{BringUp, BringUpResult};
use self::build::Build;
use self::live::Live;
use self::logs::Logs;
use self::reporter::{Output, Reporter};
use self::timeline::Timeline;
use self::watch::{WatchSettings, Watching};
use super::arguments::{Arguments, all, flag, option, words};
use super::engine;
use super::error::{Error, exit_of, is_broken_pipe};
use super::exit::Exit;
use super::faults::FaultArgs;
use super::interrupt::Interrupts;
use super::load::{self, Loaded};
use super::plan_args::{ProgramArgs, StackArgs};
use super::{Global, block_on, place, print, stack};
use crate::driver::Record;
use crate::session::launch::{LaunchSettings, Wait, connect_or_launch};
use crate::view;
use crate::view::style::{BUSY, WARN};
use crate::view::words::command_for;

#[derive(Clone)]
pub(crate) struct UpArgs {
    pub(crate) services: Vec<String>,
    pub(crate) detach: bool,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) keep_going: bool,
    pub(crate) reset: bool,
    pub(crate) replace: bool,
    pub(crate) watch: bool,
    no_watch: bool,
    record: Option<PathBuf>,
    timings: bool,
    until_pid: Option<u32>,
    pub(crate) stack: StackArgs,
    pub(crate) programs: ProgramArgs,
    faults: FaultArgs,
    pub(crate) args: Vec<String>,
}

impl Arguments for UpArgs {
    fn add(command: Command) -> Command {
        let own = [
            words(
                "services",
                "SERVICE",
                "Start these services and their dependencies [default: the workspace's default \
                 services, or all, and the services that run already]",
            ),
            flag("detach", "Exit when everything is ready, and leave it running").short('d'),
            flag("dry-run", "Print the plan and start nothing"),
            flag("json", "Print one JSON event per line; with `--dry-run` the plan as JSON"),
            flag("keep-going", "Continue with independent services after a failure"),
            flag(
                "reset",
                "Forget the flags of earlier `up` commands, which a stack keeps until it is shut \
                 down: `--with`, `-e`, `--ports`, `--containers`, `--release`, `--profile` and \
                 `--watch`",
            ),
            flag(
                "replace",
                "Stop processes of the same programs that were started by hand, and replace them",
            ),
            flag("watch", "Build again after each edit of the sources, and run the new programs")
                .short('w')
                .conflicts_with("no-build"),
            flag(
                "no-watch",
                "Do not watch the sources, whatever the metadata or an earlier `up` says",
            )
            .conflicts_with("watch"),
            option(
                "record",
                "FILE",
                "Write every event of the stack and its effects to this file, for `replay`. The \
                 file contains secrets in plain text and is readable by its owner only",
            )
            .value_parser(value_parser!(PathBuf)),
            flag(
                "timings",
                "Write an HTML page about the start when everything is ready; `timings` shows it \
                 later",
            ),
            option(
                "until-pid",
                "PID",
                "Shut down when this process exits, if this command starts the stack",
            )
            .value_parser(value_parser!(u32))
            .hide(true),
        ];
        let shared = FaultArgs::add(ProgramArgs::add(StackArgs::add(command.args(own))));
        shared
            .group(ArgGroup::new("chance").arg("start-order"))
            .arg(words("args", "ARGS", "Arguments for the one named service").last(true))
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            services: all(matches, "services"),
            detach: matches.get_flag("detach"),
            dry_run: matches.get_flag("dry-run"),
            json: matches.get_flag("json"),
            keep_going: matches.get_flag("keep-going"),
            reset: matches.get_flag("reset"),
            replace: matches.get_flag("replace"),
            watch: matches.get_flag("watch"),
            no_watch: matches.get_flag("no-watch"),
            record: matches.remove_one("record"),
            timings: matches.get_flag("timings"),
            until_pid: matches.remove_one("until-pid"),
            stack: StackArgs::read(matches),
            programs: ProgramArgs::read(matches),
            faults: FaultArgs::read(matches),
            args: all(matches, "args"),
        }
    }
}

pub(crate) fn run(global: &Global, args: &UpArgs) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let result = prepare(global, args, began);
    if args.json && !args.dry_run {
        // A program receives the end event in every case.
        let exit = result.as_ref().copied().unwrap_or_else(exit_of);
        block_on(async {
            reporter::end(began, exit).await;
            Ok(())
        })?;
    }
    result
}

fn prepare(global: &Global, args: &UpArgs, began: Instant) -> anyhow::Result<Exit> {
    let shape = |request: &mut plan::Request| {
        args.stack.shape(request);
        args.programs.shape(request);
        args.faults.shape(request);
        request.args.clone_from(&args.args);
    };
    // `up` of an isolated stack has only its own flags; other commands use those of its last `up`.
    let is_isolated = args.stack.isolated || global.stack != DEFAULT_STACK;
    let mut loaded = match args.reset || is_isolated {
        true => load::plan_running(global, &args.services, shape)?,
        false => load::plan_kept(global, &args.services, shape)?,
    };
    loaded.plan.replace = args.replace;
    let mut args = args.clone();
    let mut typed = KeptFlags {
        watch: args.watch.then_some(true).or(args.no_watch.then_some(false)),
        ..args.stack.kept(&args.programs.build)
    };
    if let ([service], false) = (&args.services[..], args.args.is_empty()) {
        typed.arguments.insert(service.clone(), args.args.clone());
    }
    if let Some(flags) = loaded.kept.shown(&typed) {
        print::progress(BUSY, "Keeping", &format!("{flags} (`up --reset` forgets them)"));
    }
    let is_other_use = args.stack.isolated && global.stack == DEFAULT_STACK;
    let flags = (!is_other_use).then(|| loaded.kept.merge(&typed));
    args.programs.build.keep_profile(loaded.kept.profile.as_deref());
    let asked = typed.watch.or(loaded.kept.watch);
    let by_default = loaded.watch.by_default && !is_isolated;
    let watching = Watching {
        is_on: asked.unwrap_or(by_default),
        builds: !args.programs.no_build,
        settings: WatchSettings { keep: asked.is_some(), ..WatchSettings::of(&args, &loaded) },
    };
    let args = &args;
    if args.dry_run {
        match args.json {
            true => print::json_pretty(&view::plan::json(&loaded.plan))?,
            false => print::out(&view::plan::text(&loaded.plan))?,
        }
        return Ok(Exit::DONE);
    }
    target::refuse_shared(&loaded, args.programs.build.profile(), "up")?;
    place::settle(Path::new(&loaded.plan.workspace), &loaded.paths)?;
    place::report_other_data(&loaded.plan, &loaded.paths)?;
    let record = args.record.as_ref().map(|path| {
        Record::prepare(path)
            .with_context(|| format!("failed to write the record `{}`", path.display()))
    });
    let settings = LaunchSettings {
        workspace: PathBuf::from(&loaded.plan.workspace),
        until_pid: args.until_pid,
        record: record.transpose()?,
    };
    block_on(async {
        engine::check_machine(&loaded.plan).await?;
        up(args, &loaded, settings, flags, watching, began).await
    })
}

async fn up(
    args: &UpArgs,
    loaded: &Loaded,
    settings: LaunchSettings,
    flags: Option<KeptFlags>,
    watching: Watching,
    began: Instant,
) -> anyhow::Result<Exit> {
    let mut timeline = Timeline::new(began);
    let mut interrupts = Interrupts::new()?;
    let plan = &loaded.plan;
    let output = if args.json { Output::Json } else { Output::Text };
    let reporter = Reporter::new(output, plan, args.detach)?;
    // Before the build, whose messages it changes.
    let live = match output {
        Output::Text => Live::start(!args.detach)?,
        Output::Json | Output::Silent => Live::off(),
    };
    // Cargo takes longer than the connection to the supervisor, so it starts first.
    timeline.build_began();
    let mut build = Build::of(loaded, &args.programs, args.keep_going)?;
    let connecting = connect_or_launch(&loaded.paths, &settings, |wait| match wait {
        Wait::Answer => stack::report_silence(&loaded.paths),
        Wait::End => {
            print::progress(BUSY, "Waiting", "for the previous shutdown of the stack");
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
        return Err(Error::RecordOfRunningStack { stack: plan.stack.clone() }.into());
    }
    if let Some(leftovers) = &session.leftovers {
        stack::report_leftovers(&loaded.paths, leftovers);
    }
    let mut logs = match args.detach {
        true => None,
        false => Some(Logs::of(plan, &loaded.paths, output)?),
    };
    let launched = session.launched;
    let mut up = BringUp::new(plan, session, build, reporter, args.keep_going);
    up.live = live;
    up.timeline = timeline;
    up.known.clone_from(&loaded.services);
    up.flags = flags;
    up.watching = Some(watching);
    if args.detach {
        up.look_again();
    }
    let result = up.run(launched, &mut interrupts, logs.as_mut()).await;
    finish(&mut up, result, logs, &mut interrupts, loaded, args).await
}

async fn finish(
    up: &mut BringUp<'_>,
    result: anyhow::Result<BringUpResult>,
    mut logs: Option<Logs>,
    interrupts: &mut Interrupts,
    loaded: &Loaded,
    args: &UpArgs,
) -> anyhow::Result<Exit> {
    let launched = up.session.launched;
    let failed = match result {
        Err(error) => {
            up.build.stop().await;
            // The reader of the logs has gone, which is as good as Ctrl-C.
            if launched && is_broken_pipe(&error) {
                return hold::end(up, None, interrupts, Exit::DONE).await;
            }
            return Err(error);
        }
        Ok(BringUpResult::Interrupted(exit)) => {
            up.build.stop().await;
            if launched {
                return hold::end(up, logs, interrupts, exit).await;
            }
            return Ok(exit);
        }
        Ok(BringUpResult::Ready) => None,
        Ok(BringUpResult::Failed) => {
            up.build.stop().await;
            hold::print_present(logs.as_mut()).await;
            Some(failure::report(up, &loaded.paths).await?)
        }
        Ok(BringUpResult::BuildFailed) => {
            print::progress(WARN, "Kept", "the running services, because the build failed");
            Some(Exit::BUILD)
        }
    };
    // The next edit may mend what failed.
    let waits = logs.is_some() && up.watching.as_ref().is_some_and(Watching::is_starting);
    match failed {
        Some(_) if waits => {}
        Some(exit) if launched && !up.keep_going => {
            return hold::end(up, None, interrupts, exit).await;
        }
        Some(exit) if logs.is_none() => {
            up.apply_watching().await;
            release(up).await?;
            return Ok(exit);
        }
        Some(exit) if !up.keep_going => return Ok(exit),
        Some(_) | None => {}
    }
    hold::print_present(logs.as_mut()).await;
    up.apply_watching().await;
    up.show()?;
    if args.timings && failed.is_none() {
        up.write_page().await;
    }
    match logs {
        Some(logs) => hold::foreground(up, logs, interrupts).await,
        None => {
            release(up).await?;
            hold::report_holder(up).await?;
            if launched && !args.json && !args.stack.isolated {
                let stack = &up.plan.stack;
                let (logs, down) = (command_for(stack, "logs -f"), command_for(stack, "down"));
                print::hint(&format!("{logs} follows the output, {down} stops everything"));
            }
            Ok(Exit::DONE)
        }
    }
}

/// Keeps the stack running after this client exits.
async fn release(up: &mut BringUp<'_>) -> anyhow::Result<()> {
    if up.session.launched {
        up.session.connection.call(Request::Hold { hold: false }).await?;
    }
    Ok(())
}
