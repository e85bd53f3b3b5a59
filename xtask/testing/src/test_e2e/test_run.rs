//! Runs the end-to-end tests once on a new stack: up, tests, down.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use xtask_client::STACK_VARIABLE;
use xtask_client::harness::{OWNER_VARIABLE, SHAPE_VARIABLE};
use xtask_control::protocol::{Ask, Reply, Request};
use xtask_core::snapshot::Snapshot;

use super::arguments::{start_arguments, up_arguments};
use super::crashes::Crashes;
use super::killer::kill_until_dropped;
use super::program::{ProgramExit, spawn};
use super::runner::{Runner, Selection, Tests, Verdict, listed};
use super::{TestRun, report_no_tests};
use xtask::cli::Exit;
use xtask::cli::error::Error;
use xtask::cli::stack::{cargo_for, own_command};
use xtask::cli::{print, stack};
use xtask::session::connect::{Session, connect};
use xtask::view::{self, style};
use xtask::workspace;

impl TestRun<'_> {
    /// Starts the stack, runs the tests, and shuts the stack down on every path.
    pub(super) async fn run(&mut self) -> anyhow::Result<Exit> {
        let up = self.bring_up().await?;
        if up != Exit::DONE {
            return Ok(up);
        }
        let session = connect(&self.paths, || stack::report_silence(&self.paths)).await?;
        let mut session = session.ok_or(Error::ShutDown)?;
        // The answer arrives among the changes, and says nothing.
        session.connection.send(Request::Reports).await?;
        let exit = self.test(&mut session).await;
        // Before an error is returned.
        if !self.args.keep {
            stack::take_down(session, &mut self.interrupts).await;
        }
        exit
    }

    /// Runs `up` of this same program.
    async fn bring_up(&mut self) -> anyhow::Result<Exit> {
        let mut command = Command::from(own_command(self.root)?);
        command.args(["up", "--detach", "--isolated", "--stack", &self.paths.stack()]);
        if !self.args.keep {
            command.arg("--until-pid").arg(std::process::id().to_string());
        }
        command.args(up_arguments(self.args));
        command.args(start_arguments(&self.args.faults));
        // Its table of addresses is not part of the result.
        command.stdout(Stdio::null());
        let up = spawn(&mut command)?.without_grace();
        Ok(up.wait(&mut self.interrupts, None, |_| {}).await?.of_own_program())
    }

    /// Runs the tests on the running stack.
    async fn test(&mut self, session: &mut Session) -> anyhow::Result<Exit> {
        let runner = Runner::find();
        self.summary.runner = Some(runner.as_str());
        let tests = self.find_tests(runner).await?;
        let mut command =
            self.cargo(runner.run(Selection::Only(self.package), &tests, &self.args.runner_args));
        if self.args.json {
            command.stdout(std::io::stderr());
        }
        let mut crashes = Crashes::since(session.snapshot.clone());
        self.history.last = Some(session.snapshot.clone());
        let tests = spawn(&mut command).map_err(workspace::no_cargo)?;
        let connection = Some(&mut session.connection);
        let Self { interrupts, history, .. } = self;
        let run = tests.wait(interrupts, connection, |reply| {
            history.record(&reply);
            crashes.apply(reply);
        });
        let mut kills = 0;
        let ended = match self.args.kill_seed() {
            None => run.await?,
            Some(seed) => tokio::select! {
                ended = run => ended?,
                never = kill_until_dropped(&self.paths, seed, &mut kills) => match never {},
            },
        };
        self.summary.killed = kills;
        if let Some(seed) = self.args.faults.seed.filter(|_| self.args.kill_random) {
            report_kills(kills, seed);
        }
        let last = last_messages(session, &mut crashes).await;
        let is_up = last.is_some();
        if is_up {
            self.history.last.clone_from(&last);
        }
        self.summary.runner_exit_code = ended.code;
        self.summary.died = crashes.found().to_vec();
        if let Some(exit) = ended.interrupted {
            return Ok(exit);
        }
        if let Some(last) = &last {
            print::lines(&view::calls::undeclared(last));
            self.summary.undeclared = last.undeclared_calls();
        }
        if !is_up {
            let hint = "the files of the run name the cause; `%xtask% test-e2e` repeats it";
            print::error("the stack was shut down during the tests", Some(hint));
        }
        let verdict = runner.verdict(ended.code);
        self.summary.ran = matches!(verdict, Verdict::Passed | Verdict::Failed);
        Ok(match verdict {
            Verdict::Passed if is_up && self.summary.died.is_empty() => Exit::DONE,
            Verdict::Passed | Verdict::Failed => Exit::FAILED,
            Verdict::NothingRun => self.no_tests(),
            Verdict::NotBuilt => Exit::BUILD,
        })
    }

    /// The tests to run. Nextest is not called, because its exit code reports an empty selection.
    async fn find_tests(&mut self, runner: Runner) -> anyhow::Result<Tests> {
        let (filters, extra) = (&self.args.filters, &self.args.runner_args);
        let matching = Tests::Matching { filters: filters.clone(), shard: self.args.shard };
        let Some(arguments) = runner.list(Selection::Only(self.package), &matching, extra) else {
            return Ok(matching);
        };
        let mut command = self.cargo(arguments);
        let mut list = spawn(command.stdout(Stdio::piped())).map_err(workspace::no_cargo)?;
        let mut names = String::new();
        let mut output = list.child.stdout.take().context("cargo was started without a pipe")?;
        // In parallel: cargo blocks on a full pipe.
        let (read, ended) = tokio::join!(
            output.read_to_string(&mut names),
            list.wait(&mut self.interrupts, None, |_| {})
        );
        read?;
        let names = listed(&names);
        let exit = match (ended?, self.args.shard) {
            (ProgramExit { interrupted: Some(exit), .. }, _) => exit,
            (ProgramExit { code: Some(0), .. }, None) if !names.is_empty() => return Ok(matching),
            (ProgramExit { code: Some(0), .. }, Some(shard)) => match shard.part(names) {
                part if part.is_empty() => self.no_tests(),
                part => return Ok(Tests::These(part)),
            },
            (ProgramExit { code: Some(0), .. }, None) => self.no_tests(),
            (ProgramExit { .. }, _) => Exit::BUILD,
        };
        Err(Error::Reported(exit).into())
    }

    /// Reports an empty selection. A shard may be empty if another one has the tests.
    fn no_tests(&mut self) -> Exit {
        self.summary.nothing_matched = true;
        match self.args.shard {
            Some(_) => Exit::FAILED,
            None => report_no_tests(self.package, self.args),
        }
    }

    fn cargo(&self, arguments: Vec<String>) -> Command {
        let arguments = arguments.iter().map(String::as_str);
        let mut command = Command::from(cargo_for(self.root, arguments));
        command.env(STACK_VARIABLE, self.paths.folder());
        command.env(OWNER_VARIABLE, std::process::id().to_string());
        command.env(SHAPE_VARIABLE, up_arguments(self.args).join(" "));
        command
    }
}

fn report_kills(kills: u32, seed: u64) {
    let text = match kills {
        0 => format!("no service: the tests ended before the first kill (seed {seed})"),
        1 => format!("1 service during the tests (seed {seed})"),
        _ => format!("{kills} services during the tests (seed {seed})"),
    };
    print::progress(style::WARN, "Killed", &text);
}

/// Reads all messages of the supervisor up to now, so that a crash at the end counts. Returns the
/// last state; none if the supervisor has exited.
async fn last_messages(session: &mut Session, crashes: &mut Crashes) -> Option<Snapshot> {
    let Ok(Reply::Snapshot(last)) =
        session.connection.call(Request::Status { ask: Ask::No, sockets: true }).await
    else {
        return None;
    };
    // Earlier messages are queued; do not wait for later ones.
    while let Ok(Ok(Some(answer))) = timeout(Duration::ZERO, session.connection.next()).await {
        crashes.apply(answer.reply);
    }
    crashes.apply(Reply::Snapshot(last.clone()));
    Some(last)
}
