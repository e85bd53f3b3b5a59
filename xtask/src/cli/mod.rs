//! The command line: what can be asked, and which file answers.
//!
//! A file a command. Arguments are checked here as far as they make sense by
//! themselves; whether they fit the workspace is the plan's affair.

mod asked;
mod check;
mod ci;
mod color;
mod down;
mod exit;
mod explain;
mod export;
mod faults;
mod follow;
mod graph;
mod help;
mod image;
mod interrupt;
mod isolated;
mod load;
mod locate;
mod logs;
mod plan_args;
mod print;
mod replay;
mod restart;
mod status;
mod stderr;
mod supervise;
mod sweep;
mod test;
mod test_e2e;
mod up;
mod verify_deps;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use xtask_client::paths::{DEFAULT_STACK, check_stack_name};

pub(crate) use exit::Exit;

use crate::workspace;

/// The tool's command line.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Starts, watches and tests the services of this workspace",
    version,
    help_template = help::TEMPLATE,
    after_help = help::MORE,
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

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The Cargo.toml of the workspace, or of a member [default: found from here upwards]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Everywhere")]
    pub(crate) manifest_path: Option<PathBuf>,
    /// The name of the stack; any but `dev` gets free ports and nothing from the shell that the
    /// metadata sets, and adopts nothing
    #[arg(long, global = true, value_name = "NAME", default_value = DEFAULT_STACK,
        value_parser = stack_name, help_heading = "Everywhere")]
    pub(crate) stack: String,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Everywhere"
    )]
    pub(crate) color: color::ColorWhen,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and start services, each as soon as it can be
    Up(up::UpArgs),
    /// Stop services, dependents first
    Down(down::DownArgs),
    /// Show what runs
    Status(status::StatusArgs),
    /// Show what services printed
    Logs(logs::LogsArgs),
    /// Start a new run of services
    Restart(restart::RestartArgs),
    /// Test against an isolated copy of the stack
    TestE2e(test_e2e::TestE2eArgs),
    /// Show every setting of a service and where it comes from
    Explain(explain::ExplainArgs),

    /// Wait until services are ready
    #[command(hide = true)]
    Wait(wait::WaitArgs),
    /// Draw the graph of services
    #[command(hide = true)]
    Graph(graph::GraphArgs),
    /// Find mistakes in the metadata
    #[command(hide = true)]
    Check(check::CheckArgs),
    /// Make container images of the programs that are built here
    #[command(hide = true)]
    Image(image::ImageArgs),
    /// Write the graph down for Compose, Swarm or Kubernetes
    #[command(hide = true)]
    Export(export::ExportArgs),
    /// Run the workspace's tests, then test-e2e
    #[command(hide = true)]
    Test(test::TestArgs),
    /// Find out whether services declare what they need, and need what they declare
    #[command(hide = true)]
    VerifyDeps(verify_deps::VerifyDepsArgs),
    /// Run what continuous integration runs
    #[command(hide = true)]
    Ci(ci::CiArgs),
    /// Step a recorded run again
    #[command(hide = true)]
    Replay(replay::ReplayArgs),

    /// Own a stack; started by `up`
    #[command(hide = true)]
    Supervise(supervise::SuperviseArgs),
    /// End what a supervisor leaves behind; started by it
    #[command(hide = true)]
    Sweep(sweep::SweepArgs),
}

/// How long the last words of a command that was told to end may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Reads the command line and does what it says.
pub(crate) fn run() -> Exit {
    let exit = obey();
    // Whoever was told to end does not wait for a reader who is stuck; anybody else does, and
    // can be told to.
    let told = exit == Exit::INTERRUPTED || exit == Exit::TERMINATED;
    interrupt::end_with_its_code();
    stderr::drain(told.then_some(LAST_WORDS));
    exit
}

fn obey() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::USAGE } else { Exit::DONE };
        }
    };
    if let Some(word) = color::choose(cli.global.color) {
        // SAFETY: there is only this thread. Every cargo of ours inherits it, and services do not.
        unsafe { std::env::set_var(color::CARGOS, word) };
    }
    if !matches!(cli.command, Command::Supervise(_) | Command::Sweep(_)) {
        interrupt::end_with_its_code();
    }
    if let Some(exit) = locate::refused_state_folder() {
        return exit;
    }
    dispatch(cli).unwrap_or_else(|error| {
        if !print::is_broken_pipe(&error) {
            print::error(&error);
        }
        exit_of(&error)
    })
}

/// What the process ends with because of an error.
fn exit_of(error: &anyhow::Error) -> Exit {
    if print::is_broken_pipe(error) {
        Exit::DONE
    } else if error.is::<locate::NoWorkspace>() || error.is::<workspace::Error>() {
        Exit::USAGE
    } else {
        Exit::FAILED
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let global = &cli.global;
    match cli.command {
        Command::Up(args) => up::run(global, &args),
        Command::Down(args) => down::run(global, &args),
        Command::Status(args) => status::run(global, &args),
        Command::Logs(args) => logs::run(global, &args),
        Command::Restart(args) => restart::run(global, &args),
        Command::TestE2e(args) => test_e2e::run(global, &args),
        Command::Explain(args) => explain::run(global, &args),
        Command::Wait(args) => wait::run(global, &args),
        Command::Graph(args) => graph::run(global, &args),
        Command::Check(args) => check::run(global, &args),
        Command::Export(args) => export::run(global, &args),
        Command::Image(args) => image::run(global, &args),
        Command::Test(args) => test::run(global, &args),
        Command::VerifyDeps(args) => verify_deps::run(global, &args),
        Command::Ci(args) => ci::run(global, &args),
        Command::Replay(args) => replay::run(&args),
        Command::Supervise(args) => supervise::run(&args),
        Command::Sweep(args) => sweep::run(&args),
    }
}

/// A runtime of one thread, for commands that wait.
fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot prepare to wait")?;
    let outcome = runtime.block_on(task);
    // Somebody may still be printing to a reader who is stuck.
    runtime.shutdown_background();
    outcome
}

fn stack_name(text: &str) -> Result<String, &'static str> {
    check_stack_name(text).map(|()| text.to_string())
}
