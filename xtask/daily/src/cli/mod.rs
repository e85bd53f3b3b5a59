//! The command line: one file or folder per command.
//!
//! clap checks each argument alone. The plan checks it against the workspace.

mod all;
mod brought;
mod browser;
mod called_as;
mod color;
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
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use xtask_client::names::{StackNameError, check_stack_name};
use xtask_client::paths::DEFAULT_STACK;
use xtask_core::terms::TOOL;

pub(crate) use elsewhere::Elsewhere;
pub use exit::Exit;
pub use listed::{LISTED, Listed, Program, TEST_E2E, WATCHER};

#[derive(Debug, Parser)]
#[command(
    name = TOOL,
    bin_name = TOOL,
    about = "Start, watch and test the services of this workspace",
    version,
    help_template = help::TEMPLATE,
    after_help = help::more(),
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Use the workspace of this Cargo.toml [default: search from the current folder upwards]
    #[arg(long, global = true, value_name = "PATH", help_heading = help::GLOBAL)]
    pub manifest_path: Option<PathBuf>,
    /// Use this stack. A stack other than `dev` is isolated: it uses free ports, adopts no process,
    /// and ignores variables of the shell that the metadata sets
    #[arg(long, global = true, value_name = "NAME", default_value = DEFAULT_STACK,
        value_parser = stack_name, help_heading = help::GLOBAL)]
    pub stack: String,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto",
        help_heading = help::GLOBAL)]
    pub(crate) color: color::ColorWhen,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and start services in dependency order
    ///
    /// Starts the workspace's default services and their dependencies, then follows their logs.
    /// Ctrl-C shuts the stack down.
    ///
    /// Example: `%xtask% up --detach`
    Up(up::UpArgs),
    /// Stop services, dependents first
    ///
    /// Stops the whole stack and waits until its processes have exited. Data is kept.
    ///
    /// Example: `%xtask% down --data`
    Down(down::DownArgs),
    /// Show the services of a running stack
    ///
    /// Shows the stack `dev` as a table.
    ///
    /// Example: `%xtask% status --json`
    Status(status::StatusArgs),
    /// Show the output of services
    ///
    /// Shows the last 200 lines of each service, also after the stack is down.
    ///
    /// Example: `%xtask% logs --follow --since 5m`
    Logs(logs::LogsArgs),
    /// Build services and start them again
    ///
    /// Applies edits of their sources and metadata and the variables of this shell, and waits until
    /// they are ready. A failed build leaves the old runs serving.
    ///
    /// Example: `%xtask% restart web`
    Restart(restart::RestartArgs),
    /// Show every setting of a service and its source
    ///
    /// Shows the settings of the present metadata, and the state of the service if it runs.
    ///
    /// Example: `%xtask% explain web`
    Explain(explain::ExplainArgs),

    /// Wait until services are ready
    ///
    /// Waits for all wanted services, without a deadline.
    ///
    /// Example: `%xtask% wait --timeout 30s`
    #[command(hide = true)]
    Wait(wait::WaitArgs),
    /// Print the variables of a service for a shell
    ///
    /// Prints real values, secrets included, so that the service can be started by hand.
    ///
    /// Example: `eval "$(%xtask% env web)"; cargo run -p web`
    #[command(hide = true)]
    Env(env::EnvArgs),

    /// Supervise a stack; internal
    #[command(hide = true)]
    Supervise(supervise::SuperviseArgs),
    /// Clean up after a supervisor; internal
    #[command(hide = true)]
    Sweep(sweep::SweepArgs),
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
#[allow(clippy::large_enum_variant, reason = "there is one, for a moment")]
enum Parsed<More> {
    Daily(Command),
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
    if !matches!(command, Parsed::Daily(Command::Supervise(_) | Command::Sweep(_))) {
        interrupt::exit_on_signal();
    }
    let result = stack::check_state_folder().map_err(Into::into).and_then(|()| match command {
        Parsed::Daily(command) => dispatch(&global, command),
        Parsed::More(command) => command.run(&global),
    });
    result.unwrap_or_else(|error| error::report(&error))
}

/// The command line without internal commands, and with every listed command shown: for
/// completions.
#[must_use]
pub fn command<More: MoreCommands>() -> clap::Command {
    let whole = whole::<More>();
    let is_listed = |name: &str| LISTED.iter().any(|listed| listed.name == name);
    let known = whole
        .get_subcommands()
        .filter(|command| !command.is_hide_set() || is_listed(command.get_name()));
    clap::Command::new("cargo-services")
        .args(whole.get_arguments())
        .subcommands(known.cloned().map(|command| command.hide(false)))
}

/// All commands. Clap would describe the program by the doc comment of `More`.
fn whole<More: MoreCommands>() -> clap::Command {
    let daily = Cli::command();
    let about = daily.get_about().cloned().unwrap_or_default();
    More::augment_subcommands(daily).about(about)
}

fn parse<More: MoreCommands>() -> Result<(Global, Parsed<More>), clap::Error> {
    let read = |arguments: &[OsString]| whole::<More>().try_get_matches_from(arguments);
    let matches = read(called_as::arguments()).or_else(|error| {
        let help = brought::help_of(called_as::arguments()).filter(|_| error.use_stderr());
        // The message quotes arguments. A line break in one must begin no line of its own.
        let on_one_line = |argument: &OsString| argument.to_string_lossy().replace('\n', "\\n");
        let on_one_line = called_as::arguments().iter().map(on_one_line).map(OsString::from);
        help.map_or_else(
            || read(&on_one_line.collect::<Vec<_>>()).and(Err(error)),
            |arguments| read(&arguments),
        )
    })?;
    if matches.subcommand_name().is_some_and(More::has_subcommand) {
        let more = More::from_arg_matches(&matches)?;
        return Ok((Global::from_arg_matches(&matches)?, Parsed::More(more)));
    }
    let Cli { global, command } = Cli::from_arg_matches(&matches)?;
    Ok((global, Parsed::Daily(command)))
}

fn dispatch(global: &Global, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Up(args) => up::run(global, &args),
        Command::Down(args) => down::run(global, &args),
        Command::Status(args) => status::run(global, &args),
        Command::Logs(args) => logs::run(global, &args),
        Command::Restart(args) => restart::run(global, &args),
        Command::Explain(args) => explain::run(global, &args),
        Command::Wait(args) => wait::run(global, &args),
        Command::Env(args) => env::run(global, &args),
        Command::Supervise(args) => supervise::run(&args),
        Command::Sweep(args) => sweep::run(&args),
    }
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
