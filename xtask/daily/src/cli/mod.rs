//! The command line: one file or folder per command.
//!
//! clap checks each argument alone. The plan checks it against the workspace.

mod all;
mod arguments;
mod brought;
mod browser;
mod called_as;
mod color;
mod commands;
mod context;
mod down;
mod elsewhere;
pub mod engine;
mod env;
pub mod error;
mod exit;
mod explain;
pub mod faults;
mod help;
pub mod interrupt;
mod listed;
pub mod load;
mod logs;
pub mod place;
pub mod plan_args;
pub mod print;
pub mod restart;
mod running;
mod screen;
pub mod stack;
mod status;
mod stderr;
mod supervise;
mod sweep;
pub mod up;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use clap_builder::{ArgMatches, Command, Error, Subcommand, value_parser};
use xtask_control::names::{StackNameError, check_stack_name};
use xtask_control::paths::DEFAULT_STACK;

use self::arguments::{Arguments, option, required};
use self::commands::{Daily, Shown};

pub(crate) use elsewhere::Elsewhere;
pub use exit::Exit;
pub use listed::{LISTED, Listed, Program, TEST_E2E, WATCHER};

/// The options of every command.
#[derive(Clone, Debug)]
pub struct Global {
    pub manifest_path: Option<PathBuf>,
    pub stack: String,
    pub(crate) color: color::ColorWhen,
}

impl Arguments for Global {
    fn add(command: Command) -> Command {
        command.args(
            [
                option(
                    "manifest-path",
                    "PATH",
                    "Use the workspace of this Cargo.toml [default: search from the current \
                     folder upwards]",
                )
                .value_parser(value_parser!(PathBuf)),
                option(
                    "stack",
                    "NAME",
                    "Use this stack. A stack other than `dev` is isolated: it uses free ports, \
                     adopts no process, and ignores variables of the shell that the metadata sets",
                )
                .value_parser(stack_name)
                .default_value(DEFAULT_STACK),
                option("color", "WHEN", "When to use colours")
                    .value_parser(value_parser!(color::ColorWhen))
                    .default_value("auto"),
            ]
            .map(|option| option.global(true).help_heading(help::GLOBAL)),
        )
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            manifest_path: matches.remove_one("manifest-path"),
            stack: required(matches, "stack"),
            color: required(matches, "color"),
        }
    }
}

/// How long a signalled command waits for the reader of its last messages.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// The commands that another package adds to those of this one.
pub trait MoreCommands: Subcommand {
    /// The program that has them.
    const PROGRAM: Program;

    /// Runs the command.
    ///
    /// # Errors
    /// [`error::Failure`] if the error chooses exit code or hint; any other ends with 1.
    fn run(self, global: &Global) -> anyhow::Result<Exit>;
}

/// What the command line names.
enum Parsed<More> {
    Daily(&'static Daily, ArgMatches),
    More(More),
}

/// Runs the command that the arguments of this process name, one of this package or of `More`.
pub(crate) fn run<More: MoreCommands>() -> Exit {
    let exit = run_command::<More>();
    // A command that was not signalled waits for a slow reader. A signal ends that wait.
    let is_signalled = exit == Exit::INTERRUPTED || exit == Exit::TERMINATED;
    interrupt::exit_on_signal();
    stderr::drain(is_signalled.then_some(LAST_MESSAGES));
    exit
}

fn run_command<More: MoreCommands>() -> Exit {
    if let Some(refused) = brought::refused(called_as::arguments()) {
        return error::report(&refused.into());
    }
    let (global, command) = match parse::<More>() {
        Ok(parsed) => parsed,
        Err(error) => {
            if let Some(mistyped) = brought::mistyped(&error) {
                return error::report(&mistyped.into());
            }
            let text = error.render().ansi().to_string();
            return match error.use_stderr() {
                true => {
                    print::lines(&text);
                    Exit::USAGE
                }
                // A broken pipe is no error.
                false => {
                    print::out(&text).ok();
                    Exit::DONE
                }
            };
        }
    };
    if let Some(choice) = color::choose(global.color) {
        // SAFETY: this is the only thread. Each cargo child inherits the variable; services do not.
        unsafe { std::env::set_var(color::CARGO_VARIABLE, choice) };
    }
    if !matches!(command, Parsed::Daily(Daily { shown: Shown::Never, .. }, _)) {
        interrupt::exit_on_signal();
    }
    let result = stack::check_state_folder().map_err(Into::into).and_then(|()| match command {
        Parsed::Daily(command, mut matches) => (command.run)(&global, &mut matches),
        Parsed::More(command) => command.run(&global),
    });
    result.unwrap_or_else(|error| error::report(&error))
}

/// The command line without internal commands, and with every listed command shown: for
/// completions.
#[must_use]
pub fn command<More: MoreCommands>() -> Command {
    let whole = whole::<More>();
    let is_listed = |name: &str| LISTED.iter().any(|listed| listed.name == name);
    let known = whole
        .get_subcommands()
        .filter(|command| !command.is_hide_set() || is_listed(command.get_name()));
    Command::new("cargo-services")
        .args(whole.get_arguments())
        .subcommands(known.cloned().map(|command| command.hide(false)))
}

/// All commands. Clap would describe the program by the doc comment of `More`.
fn whole<More: MoreCommands>() -> Command {
    let daily = commands::all();
    let about = daily.get_about().cloned().unwrap_or_default();
    More::augment_subcommands(daily).about(about)
}

fn parse<More: MoreCommands>() -> Result<(Global, Parsed<More>), Error> {
    let read = |arguments: &[OsString]| whole::<More>().try_get_matches_from(arguments);
    let mut matches = read(called_as::arguments()).or_else(|error| {
        let help = brought::help_of(called_as::arguments()).filter(|_| error.use_stderr());
        // The message quotes arguments. A line break in one must begin no line of its own.
        let on_one_line = |argument: &OsString| argument.to_string_lossy().replace('\n', "\\n");
        let on_one_line = called_as::arguments().iter().map(on_one_line).map(OsString::from);
        help.map_or_else(
            || read(&on_one_line.collect::<Vec<_>>()).and(Err(error)),
            |arguments| read(&arguments),
        )
    })?;
    let daily = matches.subcommand().and_then(|(name, own)| Some((commands::named(name)?, own)));
    let parsed = match daily {
        Some((command, own)) => Parsed::Daily(command, own.clone()),
        None => Parsed::More(More::from_arg_matches(&matches)?),
    };
    Ok((Global::read(&mut matches), parsed))
}

/// Runs a task on a runtime with one thread.
///
/// # Errors
/// That of the task, or the one that kept the runtime from starting.
pub fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut result = None;
    run_to_end(Box::pin(async { result = Some(task.await) }))?;
    result.context("the task did not end")?
}

/// Takes any task as one type, so that the runtime is compiled once.
fn run_to_end(task: Pin<Box<dyn Future<Output = ()> + '_>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("failed to start the asynchronous runtime")?;
    runtime.block_on(task);
    // A blocking thread may still be printing to a slow reader.
    runtime.shutdown_background();
    Ok(())
}

fn stack_name(text: &str) -> Result<String, StackNameError> {
    check_stack_name(text).map(|()| text.to_string())
}
