//! One run of the end-to-end tests on a stack of its own: up, tests, down.
//!
//! What is left of it, and what is said of it, is others' affair.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use xtask_client::harness::{OWNER_VARIABLE, SHAPE_VARIABLE, cargo};
use xtask_client::protocol::{Reply, Request};
use xtask_client::snapshot::Snapshot;
use xtask_client::{STACK_VARIABLE, StackPaths};

use super::again::shape_of;
use super::bundle::Course;
use super::deaths::Deaths;
use super::killer::kill_for_ever;
use super::outcome::Outcome;
use super::process::{Ended, spawn};
use super::runner::{Runner, Selection, Tests, Verdict, listed};
use super::{TestE2eArgs, nothing_run};
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::cli::{isolated, locate, print};
use crate::session::launch::{Session, connect};
use crate::view;

/// One run of the end-to-end tests.
pub(super) struct Trial<'a> {
    pub(super) root: &'a Path,
    pub(super) package: &'a str,
    pub(super) args: &'a TestE2eArgs,
    pub(super) paths: StackPaths,
    pub(super) interrupts: Interrupts,
    pub(super) outcome: Outcome,
    pub(super) course: Course,
}

impl Trial<'_> {
    /// Runs it, and takes the stack down on every path.
    pub(super) async fn run(&mut self) -> anyhow::Result<Exit> {
        let up = self.bring_up().await?;
        if up != Exit::DONE {
            return Ok(up);
        }
        let Some(mut session) = connect(&self.paths, || locate::tell_silence(&self.paths)).await?
        else {
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
        command.args(shape_of(self.args));
        command.args(self.args.faults.of_start().words());
        // Its table of addresses is not what was asked for.
        command.current_dir(self.root).stdout(Stdio::null());
        let ended = spawn(&mut command)?.patient().wait(&mut self.interrupts, None, |_| {}).await?;
        let code = ended.code.and_then(|code| u8::try_from(code).ok());
        Ok(ended.interrupted.unwrap_or(code.map_or(Exit::FAILED, Exit::from_code)))
    }

    /// Runs the tests on the stack that is up.
    async fn test(&mut self, session: &mut Session) -> anyhow::Result<Exit> {
        let runner = Runner::find();
        self.outcome.runner = Some(runner.as_str());
        let tests = match self.look_for_tests(runner).await? {
            Ok(tests) => tests,
            Err(exit) => return Ok(exit),
        };
        let mut command =
            self.cargo(runner.run(Selection::Only(self.package), &tests, &self.args.runner_args));
        if self.args.json {
            command.stdout(std::io::stderr());
        }
        let mut deaths = Deaths::since(session.snapshot.clone());
        self.course.last = Some(session.snapshot.clone());
        let tests = spawn(&mut command).context("cannot start cargo")?;
        let connection = Some(&mut session.connection);
        let Self { interrupts, course, .. } = self;
        let run = tests.wait(interrupts, connection, |reply| {
            course.take(&reply);
            deaths.take(reply);
        });
        let mut kills = 0;
        let ended = match self.args.kill_seed() {
            None => run.await?,
            Some(seed) => tokio::select! {
                ended = run => ended?,
                never = kill_for_ever(&self.paths, seed, &mut kills) => match never {},
            },
        };
        self.outcome.killed = kills;
        let last = last_messages(session, &mut deaths).await;
        let stands = last.is_some();
        if last.is_some() {
            self.course.last.clone_from(&last);
        }
        self.outcome.runner_exit_code = ended.code;
        self.outcome.died = deaths.found().to_vec();
        if let Some(exit) = ended.interrupted {
            return Ok(exit);
        }
        if let Some(last) = &last {
            print::tell_all(&view::calls::undeclared(last));
            self.outcome.undeclared = last.undeclared_calls();
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

    /// The tests to run, or how to end because there are none. A runner that tells by its
    /// exit code whether there were any is not asked before.
    async fn look_for_tests(&mut self, runner: Runner) -> anyhow::Result<Result<Tests, Exit>> {
        let (filters, extra) = (&self.args.filters, &self.args.runner_args);
        let matching = Tests::Matching { filters: filters.clone(), shard: self.args.shard };
        let Some(words) = runner.list(Selection::Only(self.package), &matching, extra) else {
            return Ok(Ok(matching));
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
        let names = listed(&names);
        Ok(match (ended?, self.args.shard) {
            (Ended { interrupted: Some(exit), .. }, _) => Err(exit),
            (Ended { code: Some(0), .. }, None) if !names.is_empty() => Ok(matching),
            (Ended { code: Some(0), .. }, Some(shard)) => match shard.part(names) {
                part if part.is_empty() => Err(self.nothing_run()),
                part => Ok(Tests::These(part)),
            },
            (Ended { code: Some(0), .. }, None) => Err(self.nothing_run()),
            (Ended { .. }, _) => Err(Exit::BUILD),
        })
    }

    /// Nothing to run is a mistake, but not of one shard: another one may have had the tests.
    fn nothing_run(&mut self) -> Exit {
        self.outcome.nothing_matched = true;
        match self.args.shard {
            Some(_) => Exit::FAILED,
            None => nothing_run(self.package, self.args),
        }
    }

    fn cargo(&self, words: Vec<String>) -> Command {
        let mut command = Command::from(cargo(self.root));
        command.args(words);
        command.env(STACK_VARIABLE, self.paths.folder());
        command.env(OWNER_VARIABLE, std::process::id().to_string());
        command.env(SHAPE_VARIABLE, shape_of(self.args).join(" "));
        command
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
