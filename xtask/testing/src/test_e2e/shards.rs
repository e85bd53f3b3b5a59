//! `--stacks N`: runs this command N times in parallel, each on its own stack with a shard of the
//! tests.
//!
//! Each shard cleans up after itself, also when this process is killed. Cargo's lock lets one shard
//! build, and the others find everything up to date.

use std::path::Path;
use std::process::Stdio;
use std::str::FromStr;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::arguments::run_arguments;
use super::program::spawn;
use super::{TestE2eArgs, report_no_tests};
use xtask::cli::Exit;
use xtask::cli::interrupt::Interrupts;
use xtask::cli::print;
use xtask::cli::stack::own_command;
use xtask::system::task;

/// A longer line is forwarded in parts.
const LONGEST_LINE_BYTES: u64 = 64 * 1024;

/// One of several parts of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 1.
    pub(crate) number: u16,
    pub(crate) of: u16,
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, of) = text.split_once('/').ok_or("expected `I/N`")?;
        match (number.parse(), of.parse()) {
            (Ok(number), Ok(of)) if 0 < number && number <= of => Ok(Self { number, of }),
            _ => Err("expected `I/N` with `I` from 1 to `N`"),
        }
    }
}

impl Shard {
    /// The tests of this shard. Every test is in exactly one shard.
    pub(crate) fn part(self, mut tests: Vec<String>) -> Vec<String> {
        tests.sort();
        tests.dedup();
        let first = usize::from(self.number - 1);
        tests.into_iter().skip(first).step_by(usize::from(self.of)).collect()
    }
}

/// The output of `--json` for all shards.
#[derive(Debug, Serialize)]
struct Merged {
    /// Whether at least one test ran, all passed, and no service crashed.
    passed: bool,
    exit_code: u8,
    ran: bool,
    /// The output of each shard; null if it was killed.
    shards: Vec<Value>,
}

struct ShardResult {
    shard: Shard,
    exit: Exit,
    output: Value,
}

/// Runs all shards and returns their highest exit code.
pub(crate) async fn run(
    root: &Path,
    package: &str,
    of: u16,
    args: &TestE2eArgs,
) -> anyhow::Result<Exit> {
    let mut running = JoinSet::new();
    for number in 1..=of {
        let shard = Shard { number, of };
        let mut command = Command::from(own_command(root)?);
        command.args(["test-e2e", "--json", "--shard", &format!("{number}/{of}")]);
        if args.keep {
            command.arg("--keep");
        }
        command.args(run_arguments(args));
        running.spawn(task::boxed(run_one(shard, command)));
    }
    let mut ended = Vec::new();
    while let Some(one) = running.join_next().await {
        ended.push(one.context("a shard panicked")??);
    }
    ended.sort_by_key(|one| one.shard.number);
    let is_empty = |one: &ShardResult| one.output["nothing_matched"] == true;
    let exit = match ended.iter().filter(|one| !is_empty(one)).map(|one| one.exit.code()).max() {
        Some(code) => Exit::from_code(code),
        None => report_no_tests(package, args),
    };
    if args.json {
        print::json(&Merged {
            passed: exit == Exit::DONE,
            exit_code: exit.code(),
            ran: ended.iter().any(|one| one.output["ran"] == true),
            shards: ended.into_iter().map(|one| one.output).collect(),
        })?;
    }
    Ok(exit)
}

async fn run_one(shard: Shard, mut command: Command) -> anyhow::Result<ShardResult> {
    let mut interrupts = Interrupts::new()?;
    let mut program = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
        .context("failed to start a shard")?
        .without_grace();
    let pipes = (program.child.stdout.take(), program.child.stderr.take());
    let (Some(mut stdout), Some(stderr)) = pipes else { bail!("a shard has no output") };
    let mut output = String::new();
    let (ended, _, read) = tokio::join!(
        program.wait(&mut interrupts, None, |_| {}),
        lines(stderr, |line| print::line(&format!("{} | {line}", shard.number))),
        stdout.read_to_string(&mut output)
    );
    read?;
    let output = serde_json::from_str(&output).unwrap_or_default();
    Ok(ShardResult { shard, exit: ended?.of_own_program(), output })
}

/// Passes each line to `take`, and a long one in parts. Invalid UTF-8 is replaced.
async fn lines(from: impl AsyncRead + Unpin, mut take: impl FnMut(&str)) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = (&mut from).take(LONGEST_LINE_BYTES).read_until(b'\n', &mut line).await {
        take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_in_one_shard() {
        let tests: Vec<String> = (0..10).map(|number| format!("t{number}")).collect();
        let mut all: Vec<String> = (1..=3)
            .flat_map(|number| {
                Shard { number, of: 3 }.part([tests.clone(), tests.clone()].concat())
            })
            .collect();
        all.sort();
        assert_eq!(all, tests);
        assert!(Shard { number: 3, of: 3 }.part(vec!["one".into()]).is_empty());
    }

    #[tokio::test]
    async fn invalid_utf8_and_endless_lines_are_forwarded() {
        let endless = vec![b'x'; usize::try_from(LONGEST_LINE_BYTES).unwrap() + 1];
        let output = [b"a\xffb\r\n\nc\n".as_slice(), &endless].concat();
        let mut forwarded = Vec::new();
        lines(output.as_slice(), |line| forwarded.push(line.to_owned())).await;
        assert_eq!(forwarded[..3], ["a\u{fffd}b", "", "c"]);
        assert_eq!(
            forwarded[3..].iter().map(String::len).collect::<Vec<_>>(),
            [endless.len() - 1, 1]
        );
    }

    #[test]
    fn shard_parses_number_and_count() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "2", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
