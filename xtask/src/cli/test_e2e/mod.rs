//! `cargo xtask test-e2e`: the end-to-end tests against a fresh stack of their own.
//!
//! It brings an isolated stack up, runs the tests, and takes the stack down, on every path;
//! when this process is killed the supervisor sees it and goes. It knows neither the services
//! nor the tests.

mod deaths;
pub(crate) mod process;
mod report;
pub(crate) mod runner;
pub(crate) mod workspace;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use xtask_client::harness::{OWNER_VARIABLE, cargo};
use xtask_client::protocol::{Reply, Request};
use xtask_client::snapshot::Snapshot;
use xtask_client::{STACK_VARIABLE, StackPaths};
use xtask_core::calls::undeclared;

use self::deaths::Deaths;
use self::process::{Ended, spawn};
use self::report::Outcome;
use self::runner::{Runner, Selection, Verdict, count_listed};
use self::workspace::Tested;
use super::exit::Exit;
use super::interrupt::Interrupts;
use super::print::{self, error_with_hint};
use super::{Global, block_on, isolated};
use crate::supervisor::launch::{Session, connect};
use crate::view::{self, style};

/// `test-e2e`
#[derive(Clone, Debug, Default, Args)]
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
    /// The result as JSON; what the runner prints goes to standard error
    #[arg(long)]
    json: bool,
    /// Arguments for the runner: for `cargo nextest run`, or else for the test binaries
    #[arg(last = true, value_name = "ARGS")]
    runner_args: Vec<String>,
}

/// One run of the end-to-end tests.
struct Trial<'a> {
    root: &'a Path,
    package: &'a str,
    args: &'a TestE2eArgs,
    paths: StackPaths,
    interrupts: Interrupts,
    outcome: Outcome,
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
    isolated::sweep(root);
    let paths = isolated::fresh(root)?;
    let outcome = Outcome::of(&paths);
    let interrupts = Interrupts::new()?;
    let mut trial = Trial { root, package, args, paths, interrupts, outcome };
    let exit = trial.run().await?;
    trial.outcome.conclude(exit, &trial.paths, args);
    if args.json {
        print::json(&trial.outcome)?;
    }
    Ok(exit)
}

impl Trial<'_> {
    async fn run(&mut self) -> anyhow::Result<Exit> {
        let up = self.bring_up().await?;
        if up != Exit::DONE {
            return Ok(up);
        }
        let Some(mut session) = connect(&self.paths).await? else {
            anyhow::bail!("stack `{}` went away before the tests", self.paths.stack());
        };
        let exit = self.test(&mut session).await;
        // Also when the tests could not be run.
        if !self.args.keep {
            isolated::take_down(session, &mut self.interrupts).await;
        }
        exit
    }

    /// Has this same program bring the stack up, so that it says and does what `up` does.
    async fn bring_up(&mut self) -> anyhow::Result<Exit> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(["up", "--detach", "--isolated", "--stack", &self.paths.stack()]);
        if !self.args.keep {
            command.arg("--until-pid").arg(std::process::id().to_string());
        }
        for overlay in &self.args.with {
            command.arg("--with").arg(overlay);
        }
        // Its table of addresses is not what was asked for.
        command.current_dir(self.root).stdout(Stdio::null());
        let ended = spawn(&mut command)?.wait(&mut self.interrupts, None, |_| {}).await?;
        let code = ended.code.and_then(|code| u8::try_from(code).ok());
        Ok(ended.interrupted.unwrap_or(code.map_or(Exit::FAILED, Exit::from_code)))
    }

    /// Runs the tests on the stack that is up.
    async fn test(&mut self, session: &mut Session) -> anyhow::Result<Exit> {
        let runner = Runner::find();
        self.outcome.runner = Some(runner.as_str());
        if let Some(exit) = self.look_for_tests(runner).await? {
            return Ok(exit);
        }
        let mut command = self.cargo(runner.run(
            Selection::Only(self.package),
            &self.args.filters,
            &self.args.runner_args,
        ));
        if self.args.json {
            command.stdout(std::io::stderr());
        }
        let mut deaths = Deaths::since(session.snapshot.clone());
        let tests = spawn(&mut command).context("cannot start cargo")?;
        let connection = Some(&mut session.connection);
        let ended =
            tests.wait(&mut self.interrupts, connection, |reply| deaths.take(reply)).await?;
        let last = last_messages(session, &mut deaths).await;
        let stands = last.is_some();
        self.outcome.runner_exit_code = ended.code;
        self.outcome.died = deaths.found().to_vec();
        if let Some(exit) = ended.interrupted {
            return Ok(exit);
        }
        if let Some(last) = &last {
            style::tell_all(&view::calls::undeclared(last));
            self.outcome.undeclared = undeclared(last);
        }
        if !stands {
            print::error(&anyhow::anyhow!("the stack went away during the tests"));
        }
        let verdict = runner.verdict(ended.code);
        self.outcome.ran = matches!(verdict, Verdict::Passed | Verdict::Failed);
        Ok(match verdict {
            Verdict::Passed if stands && self.outcome.died.is_empty() => Exit::DONE,
            Verdict::Passed | Verdict::Failed => Exit::FAILED,
            Verdict::NothingRun => self.nothing_run(),
            Verdict::NotBuilt => Exit::BUILD,
        })
    }

    /// Whether there are tests to run, for a runner that would not tell.
    async fn look_for_tests(&mut self, runner: Runner) -> anyhow::Result<Option<Exit>> {
        let Some(words) =
            runner.list(Selection::Only(self.package), &self.args.filters, &self.args.runner_args)
        else {
            return Ok(None);
        };
        let mut command = self.cargo(words);
        let mut list = spawn(command.stdout(Stdio::piped())).context("cannot start cargo")?;
        let mut names = String::new();
        let mut output = list.stdout().context("cargo was started without an output")?;
        // Both at once: a list that nobody reads would never end.
        let (read, ended) = tokio::join!(
            output.read_to_string(&mut names),
            list.wait(&mut self.interrupts, None, |_| {})
        );
        read?;
        Ok(match ended? {
            Ended { interrupted: Some(exit), .. } => Some(exit),
            Ended { code: Some(0), .. } if count_listed(&names) > 0 => None,
            Ended { code: Some(0), .. } => Some(self.nothing_run()),
            Ended { .. } => Some(Exit::BUILD),
        })
    }

    fn cargo(&self, words: Vec<String>) -> Command {
        let mut command = Command::from(cargo(self.root));
        command.args(words);
        command.env(STACK_VARIABLE, self.paths.folder());
        command.env(OWNER_VARIABLE, std::process::id().to_string());
        command
    }

    fn nothing_run(&self) -> Exit {
        let package = self.package;
        let filters: Vec<_> = self.args.filters.iter().map(|text| format!("`{text}`")).collect();
        let message = match &filters[..] {
            [] => format!("no test matches: package `{package}` has none to run"),
            filters => format!("no test matches {} in package `{package}`", filters.join(" or ")),
        };
        error_with_hint(
            &message,
            &format!("see what there is: `cargo test -p {package} -- --list`"),
        );
        Exit::FAILED
    }
}

/// Takes in what the supervisor said up to now, so that a death in the last moment counts.
/// The last state, or none if there is no supervisor any more.
async fn last_messages(session: &mut Session, deaths: &mut Deaths) -> Option<Snapshot> {
    let Ok(Reply::Snapshot(last)) = session.connection.call(Request::Status).await else {
        return None;
    };
    // What came before that answer waits to be read; nothing else is waited for.
    while let Ok(Ok(Some(answer))) = timeout(Duration::ZERO, session.connection.next()).await {
        deaths.take(answer.reply);
    }
    deaths.take(Reply::Snapshot(last.clone()));
    Some(last)
}
