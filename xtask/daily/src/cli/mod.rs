//! The command line: one file or folder per command.
//!
//! clap checks each argument alone. The plan checks it against the workspace.

mod all;
mod check;
mod ci;
mod color;
mod context;
mod down;
mod env;
mod error;
mod exit;
mod explain;
mod export;
mod faults;
mod graph;
mod help;
mod image;
mod interrupt;
mod load;
mod logs;
mod place;
mod plan_args;
mod print;
mod replay;
mod restart;
mod running;
mod stack;
mod status;
mod stderr;
mod supervise;
mod sweep;
mod test;
mod test_e2e;
mod up;
mod verify_deps;
mod visible;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use xtask_client::names::{StackNameError, check_stack_name};
use xtask_client::paths::DEFAULT_STACK;

pub(crate) use exit::Exit;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Start, watch and test the services of this workspace",
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

#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Use the workspace of this Cargo.toml [default: search from the current folder upwards]
    #[arg(long, global = true, value_name = "PATH", help_heading = help::GLOBAL)]
    pub(crate) manifest_path: Option<PathBuf>,
    /// Use this stack. A stack other than `dev` is isolated: it uses free ports, adopts no process,
    /// and ignores variables of the shell that the metadata sets
    #[arg(long, global = true, value_name = "NAME", default_value = DEFAULT_STACK,
        value_parser = stack_name, help_heading = help::GLOBAL)]
    pub(crate) stack: String,
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
    /// Example: `cargo xtask up --detach`
    Up(up::UpArgs),
    /// Stop services, dependents first
    ///
    /// Stops the whole stack and waits until its processes have exited. Data is kept.
    ///
    /// Example: `cargo xtask down --data`
    Down(down::DownArgs),
    /// Show the services of a running stack
    ///
    /// Shows the stack `dev` as a table.
    ///
    /// Example: `cargo xtask status --json`
    Status(status::StatusArgs),
    /// Show the output of services
    ///
    /// Shows the last 200 lines of each service, also after the stack is down.
    ///
    /// Example: `cargo xtask logs --follow --since 5m`
    Logs(logs::LogsArgs),
    /// Build services and start them again
    ///
    /// Applies edits of their sources and metadata and the variables of this shell, and waits until
    /// they are ready. A failed build leaves the old runs serving.
    ///
    /// Example: `cargo xtask restart web`
    Restart(restart::RestartArgs),
    /// Run the end-to-end tests on an isolated stack
    ///
    /// Starts a new stack, runs all tests on it and deletes it. The files of a failed run are kept
    /// for a day.
    ///
    /// Example: `cargo xtask test-e2e --stacks 2`
    TestE2e(test_e2e::TestE2eArgs),
    /// Show every setting of a service and its source
    ///
    /// Shows the settings of the present metadata, and the state of the service if it runs.
    ///
    /// Example: `cargo xtask explain web`
    Explain(explain::ExplainArgs),

    /// Wait until services are ready
    ///
    /// Waits for all wanted services, without a deadline.
    ///
    /// Example: `cargo xtask wait --timeout 30s`
    #[command(hide = true)]
    Wait(wait::WaitArgs),
    /// Draw the graph of services
    ///
    /// Draws the workspace's default services and their dependencies as text.
    ///
    /// Example: `cargo xtask graph --format svg > graph.svg`
    #[command(hide = true)]
    Graph(graph::GraphArgs),
    /// Print the variables of a service for a shell
    ///
    /// Prints real values, secrets included, so that the service can be started by hand.
    ///
    /// Example: `eval "$(cargo xtask env web)"; cargo run -p web`
    #[command(hide = true)]
    Env(env::EnvArgs),
    /// Check the metadata of all services
    ///
    /// Reports every problem under every overlay, and changes nothing.
    ///
    /// Example: `cargo xtask check --fix`
    #[command(hide = true)]
    Check(check::CheckArgs),
    /// Build container images of the workspace's programs
    ///
    /// Builds an image for each service whose program cargo builds.
    ///
    /// Example: `cargo xtask image --release`
    #[command(hide = true)]
    Image(image::ImageArgs),
    /// Export the services for Compose, Swarm or Kubernetes
    ///
    /// Builds the images and prints the document for the workspace's default services. It applies
    /// nothing.
    ///
    /// Example: `cargo xtask export compose --output deploy`
    #[command(hide = true)]
    Export(export::ExportArgs),
    /// Run the end-to-end tests, then the workspace's tests
    ///
    /// Runs `test-e2e`, then the tests that `cargo test` runs by default. Stops at the first
    /// failure.
    ///
    /// Example: `cargo xtask test`
    #[command(hide = true)]
    Test(test::TestArgs),
    /// Test whether services declare exactly what they need
    ///
    /// Starts each service with its declared dependencies, then without each of them, on isolated
    /// stacks.
    ///
    /// Example: `cargo xtask verify-deps web`
    #[command(hide = true)]
    VerifyDeps(verify_deps::VerifyDepsArgs),
    /// Run the checks and tests of continuous integration
    ///
    /// Runs format, build, clippy, docs and all tests, and stops at the first failure.
    ///
    /// Example: `cargo xtask ci`
    #[command(hide = true)]
    Ci(ci::CiArgs),
    /// Replay a recorded stack and compare its effects
    ///
    /// Prints each event and its effects, and stops at the first difference.
    ///
    /// Example: `cargo xtask replay run.record`
    #[command(hide = true)]
    Replay(replay::ReplayArgs),

    /// Supervise a stack; internal
    #[command(hide = true)]
    Supervise(supervise::SuperviseArgs),
    /// Clean up after a supervisor; internal
    #[command(hide = true)]
    Sweep(sweep::SweepArgs),
}

/// How long a signalled command waits for the reader of its last messages.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

pub(crate) fn run() -> Exit {
    let exit = run_command();
    // A command that was not signalled waits for a slow reader. A signal ends that wait.
    let is_signalled = exit == Exit::INTERRUPTED || exit == Exit::TERMINATED;
    interrupt::exit_on_signal();
    stderr::drain(is_signalled.then_some(LAST_MESSAGES));
    exit
}

fn run_command() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
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
    if let Some(choice) = color::choose(cli.global.color) {
        // SAFETY: this is the only thread. Each cargo child inherits the variable; services do not.
        unsafe { std::env::set_var(color::CARGO_VARIABLE, choice) };
    }
    if !matches!(cli.command, Command::Supervise(_) | Command::Sweep(_)) {
        interrupt::exit_on_signal();
    }
    let result = stack::check_state_folder().map_err(Into::into).and_then(|()| dispatch(cli));
    result.unwrap_or_else(|error| error::report(&error))
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
        Command::Env(args) => env::run(global, &args),
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

/// Runs a task on a runtime with one thread.
fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("failed to start the asynchronous runtime")?;
    let result = runtime.block_on(task);
    // A blocking thread may still be printing to a slow reader.
    runtime.shutdown_background();
    result
}

fn stack_name(text: &str) -> Result<String, StackNameError> {
    check_stack_name(text).map(|()| text.to_string())
}
