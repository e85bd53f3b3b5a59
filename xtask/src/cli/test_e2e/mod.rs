//! `cargo xtask test-e2e`: the end-to-end tests against a fresh stack of their own.
//!
//! It brings an isolated stack up, runs the tests, and takes the stack down, on every path;
//! when this process is killed the supervisor sees it and goes. It knows neither the services
//! nor the tests.

mod again;
mod bundle;
mod deaths;
mod killer;
mod outcome;
pub(crate) mod process;
mod report;
pub(crate) mod runner;
mod shards;
mod trial;
pub(crate) mod workspace;

use std::path::Path;

use clap::{ArgGroup, Args};

use self::bundle::Course;
use self::outcome::Outcome;
use self::shards::Shard;
use self::trial::Trial;
use self::workspace::Tested;
use super::exit::Exit;
use super::faults::FaultArgs;
use super::interrupt::Interrupts;
use super::print::{self, error_with_hint};
use super::{Global, block_on, isolated};

/// `test-e2e`
#[derive(Clone, Debug, Default, Args)]
#[command(group = ArgGroup::new("chance").args(["start_order", "kill_random"]).multiple(true))]
pub(crate) struct TestE2eArgs {
    /// Only tests whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Leave the stack up afterwards
    #[arg(long)]
    keep: bool,
    /// Activate an overlay of the metadata, as for `up`
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    /// Run services in containers, as for `up`; names follow after `=`
    #[arg(long, value_name = "SERVICE", num_args = 0.., require_equals = true,
        value_delimiter = ',')]
    containers: Option<Vec<String>>,
    /// Divide the tests onto so many stacks at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    stacks: Option<u16>,
    /// Run one part of the tests; what `--stacks` starts
    #[arg(long, value_name = "I/N", hide = true, conflicts_with = "stacks")]
    shard: Option<Shard>,
    #[command(flatten)]
    faults: FaultArgs,
    /// Kill services at random times during the tests, those that are started again
    #[arg(long, help_heading = "Faults")]
    kill_random: bool,
    /// The result as JSON; what the runner prints goes to standard error
    #[arg(long)]
    json: bool,
    /// Arguments for the runner: for `cargo nextest run`, or else for the test binaries
    #[arg(last = true, value_name = "ARGS")]
    runner_args: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &TestE2eArgs) -> anyhow::Result<Exit> {
    let hint =
        "leave `--stack` out, or test a stack that is up: `XTASK_STACK_DIR=FOLDER cargo test`";
    if let Some(exit) = isolated::refuse_name(global, "test-e2e", hint) {
        return Ok(exit);
    }
    let tested = Tested::find(global)?;
    match &tested.e2e {
        Some(package) => block_on(test(&tested.root, package, args)),
        None => {
            error_with_hint(
                "this workspace has no package with end-to-end tests",
                "name one in the root's Cargo.toml: `[workspace.metadata.xtask] e2e = \"PACKAGE\"`",
            );
            Ok(Exit::USAGE)
        }
    }
}

/// Runs the tests of `package` in the workspace at `root`, and returns the exit code.
pub(crate) async fn test(root: &Path, package: &str, args: &TestE2eArgs) -> anyhow::Result<Exit> {
    let mut args = args.clone();
    if args.kill_random || args.faults.start_order.is_some() {
        // One seed for everything, which stands in the command to run it again.
        args.faults.seed = Some(args.faults.seed_or_draw());
    }
    match args.stacks {
        Some(of) if of > 1 => shards::run(root, package, of, &args).await,
        Some(_) | None => test_on_one_stack(root, package, &args).await,
    }
}

async fn test_on_one_stack(root: &Path, package: &str, args: &TestE2eArgs) -> anyhow::Result<Exit> {
    isolated::sweep(root);
    let paths = isolated::fresh(root)?;
    let outcome = Outcome::of(&paths);
    let interrupts = Interrupts::new()?;
    let course = Course::default();
    let mut trial = Trial { root, package, args, paths, interrupts, outcome, course };
    // What went wrong is told as every outcome is, and the folder goes with it.
    let exit = trial.run().await.unwrap_or_else(|error| {
        print::error(&error);
        Exit::FAILED
    });
    let Trial { mut outcome, course, paths, .. } = trial;
    outcome.conclude(exit, &paths, root, package, args, &course);
    if args.json {
        print::json(&outcome)?;
    }
    Ok(exit)
}

/// Says that there is no test to run.
fn nothing_run(package: &str, args: &TestE2eArgs) -> Exit {
    let filters: Vec<_> = args.filters.iter().map(|text| format!("`{text}`")).collect();
    let message = match &filters[..] {
        [] => format!("no test matches: package `{package}` has none to run"),
        filters => format!("no test matches {} in package `{package}`", filters.join(" or ")),
    };
    error_with_hint(&message, &format!("see what there is: `cargo test -p {package} -- --list`"));
    Exit::FAILED
}

impl TestE2eArgs {
    /// Where the killing begins, if there is any; another place in each shard.
    fn kill_seed(&self) -> Option<u64> {
        let shard = self.shard.map_or(0, |shard| u64::from(shard.number));
        let seed = self.faults.seed.unwrap_or_default();
        self.kill_random.then(|| seed.wrapping_add(shard << 32))
    }
}
