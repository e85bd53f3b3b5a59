//! `test-e2e`: runs the end-to-end tests on a new isolated stack.
//!
//! It shuts the stack down on every path. If this process is killed, the supervisor shuts it down.

mod arguments;
mod bundle;
mod crashes;
mod killer;
pub(crate) mod program;
pub(crate) mod runner;
mod shards;
mod summary;
mod test_run;
pub(crate) mod workspace;

use std::path::Path;

use clap::{ArgGroup, Args};
use xtask_control::StackPaths;

use self::bundle::History;
use self::shards::Shard;
use self::summary::Summary;
use self::workspace::Tested;
use xtask::cli::Exit;
use xtask::cli::error::{self, Failure};
use xtask::cli::faults::FaultArgs;
use xtask::cli::interrupt::Interrupts;
use xtask::cli::{Global, block_on, print, stack};
use xtask::session::isolated;

#[derive(Clone, Debug, Default, Args)]
#[command(group = ArgGroup::new("chance").args(["start-order", "kill_random"]).multiple(true))]
pub struct TestE2eArgs {
    /// Run tests whose name contains one of these [default: all tests]
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Keep the stack running afterwards
    #[arg(long)]
    keep: bool,
    /// Apply an overlay of the metadata, as for `up`
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    /// Run services in containers, as for `up`
    #[arg(long, value_name = "SERVICE", num_args = 0.., require_equals = true,
        value_delimiter = ',')]
    containers: Option<Vec<String>>,
    /// Divide the tests among this many parallel stacks [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    stacks: Option<u16>,
    /// Run one shard of the tests; `--stacks` starts it
    #[arg(long, value_name = "I/N", hide = true, conflicts_with = "stacks")]
    shard: Option<Shard>,
    #[command(flatten)]
    faults: FaultArgs,
    /// Kill restartable services at random times during the tests
    #[arg(long, help_heading = "Faults")]
    kill_random: bool,
    /// Print the result as JSON; the output of the runner goes to standard error
    #[arg(long)]
    json: bool,
    /// Arguments for the runner: for `cargo nextest run`, or else for the test binaries
    #[arg(last = true, value_name = "ARGS")]
    runner_args: Vec<String>,
}

/// One run of the tests on one stack.
struct TestRun<'a> {
    root: &'a Path,
    package: &'a str,
    args: &'a TestE2eArgs,
    paths: StackPaths,
    interrupts: Interrupts,
    summary: Summary,
    history: History,
}

pub(crate) fn run(global: &Global, args: &TestE2eArgs) -> anyhow::Result<Exit> {
    stack::refuse_name(global, "test-e2e")?;
    let tested = Tested::find(global)?;
    let package = tested.e2e.as_deref().ok_or_else(no_package)?;
    block_on(test(&tested.root, package, args))
}

/// Runs the tests of `package` in the workspace at `root`, and returns the exit code.
pub(crate) async fn test(root: &Path, package: &str, args: &TestE2eArgs) -> anyhow::Result<Exit> {
    let mut args = args.clone();
    if args.kill_random || args.faults.start_order.is_some() {
        // One seed for all faults, which the command to repeat the run contains.
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
    let summary = Summary { stack: paths.stack(), ..Summary::default() };
    let interrupts = Interrupts::new()?;
    let history = History::default();
    let mut run = TestRun { root, package, args, paths, interrupts, summary, history };
    let exit = run.run().await.unwrap_or_else(|error| error::report(&error));
    run.conclude(exit);
    if args.json {
        print::json(&run.summary)?;
    }
    Ok(exit)
}

fn no_package() -> Failure {
    Failure::new(Exit::USAGE, "this workspace has no package with end-to-end tests")
        .hint("name one in the root's Cargo.toml: `[workspace.metadata.xtask] e2e = \"PACKAGE\"`")
}

/// Reports that there is no test to run, and returns the exit code.
fn report_no_tests(package: &str, args: &TestE2eArgs) -> Exit {
    let filters: Vec<_> = args.filters.iter().map(|text| format!("`{text}`")).collect();
    let which = match &filters[..] {
        [] => "to run".to_owned(),
        filters => format!("matches {}", filters.join(" or ")),
    };
    let failure = Failure::new(Exit::FAILED, format!("no test {which} in package `{package}`"))
        .hint(format!("list the tests: `cargo test -p {package} -- --list`"));
    error::report(&failure.into())
}

impl TestE2eArgs {
    /// The seed of `--kill-random`, a different one for each shard.
    fn kill_seed(&self) -> Option<u64> {
        let shard = self.shard.map_or(0, |shard| u64::from(shard.number));
        let seed = self.faults.seed.unwrap_or_default();
        self.kill_random.then(|| seed.wrapping_add(shard << 32))
    }
}
