//! `--stacks N`: this same command N times at once, each with a stack of its own and a part
//! of the tests.
//!
//! Each shard cleans up behind itself, also when this process is killed. Cargo builds once:
//! it lets one shard build, and the others find everything done.

use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::again::words_of;
use super::process::spawn;
use super::{TestE2eArgs, nothing_run};
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::cli::print;

/// A longer line is passed on in parts: no more of it than this is kept.
const LONGEST_LINE_BYTES: u64 = 64 * 1024;

/// One part of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Which, from 1.
    pub(crate) number: u16,
    /// Of how many.
    pub(crate) of: u16,
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, of) = text.split_once('/').ok_or("there is no `/` in it")?;
        match (number.parse(), of.parse()) {
            (Ok(number), Ok(of)) if 0 < number && number <= of => Ok(Self { number, of }),
            _ => Err("it is not a number and how many there are"),
        }
    }
}

impl Shard {
    /// Its part of the tests; every test is in one part.
    pub(crate) fn part(self, mut tests: Vec<String>) -> Vec<String> {
        tests.sort();
        tests.dedup();
        let first = usize::from(self.number - 1);
        tests.into_iter().skip(first).step_by(usize::from(self.of)).collect()
    }
}

/// What `--json` prints of all shards.
#[derive(Debug, Serialize)]
struct Merged {
    /// Whether at least one test was run, all passed, and no service died by itself.
    passed: bool,
    /// What this command ends with.
    exit_code: u8,
    /// Whether at least one test was run.
    ran: bool,
    /// What each shard has to say; null of one that was killed.
    shards: Vec<Value>,
}

/// How a shard ended.
struct Ended {
    shard: Shard,
    exit: Exit,
    outcome: Value,
}

/// Runs all shards, and returns the exit code of all of them.
pub(crate) async fn run(
    root: &Path,
    package: &str,
    of: u16,
    args: &TestE2eArgs,
) -> anyhow::Result<Exit> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut running = JoinSet::new();
    for number in 1..=of {
        let shard = Shard { number, of };
        let mut command = Command::new(&program);
        command.args(["test-e2e", "--json", "--shard", &format!("{number}/{of}")]);
        if args.keep {
            command.arg("--keep");
        }
        command.args(words_of(args)).current_dir(root);
        running.spawn(run_one(shard, command));
    }
    let mut ended = Vec::new();
    while let Some(one) = running.join_next().await {
        ended.push(one.context("a shard is lost")??);
    }
    ended.sort_by_key(|one| one.shard.number);
    let is_empty = |one: &Ended| one.outcome["nothing_matched"] == true;
    let exit = match ended.iter().filter(|one| !is_empty(one)).map(|one| one.exit.code()).max() {
        Some(code) => Exit::from_code(code),
        None => nothing_run(package, args),
    };
    if args.json {
        print::json(&Merged {
            passed: exit == Exit::DONE,
            exit_code: exit.code(),
            ran: ended.iter().any(|one| one.outcome["ran"] == true),
            shards: ended.into_iter().map(|one| one.outcome).collect(),
        })?;
    }
    Ok(exit)
}

async fn run_one(shard: Shard, mut command: Command) -> anyhow::Result<Ended> {
    use std::process::Stdio;
    let mut interrupts = Interrupts::new()?;
    let mut program = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
        .context("cannot start a shard")?
        .patient();
    let mut stdout = program.stdout().context("a shard was started without an output")?;
    let stderr = program.stderr().context("a shard was started without an output")?;
    let mut outcome = String::new();
    let (ended, _, read) = tokio::join!(
        program.wait(&mut interrupts, None, |_| {}),
        lines(stderr, |line| print::tell(&format!("{} | {line}", shard.number))),
        stdout.read_to_string(&mut outcome)
    );
    read?;
    let ended = ended?;
    let code = ended.code.and_then(|code| u8::try_from(code).ok());
    Ok(Ended {
        shard,
        exit: ended.interrupted.unwrap_or(code.map_or(Exit::FAILED, Exit::from_code)),
        outcome: serde_json::from_str(&outcome).unwrap_or_default(),
    })
}

/// Hands over each line until the end, whatever bytes are in it; a long one in parts.
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
    async fn what_is_no_text_and_what_has_no_end_is_passed_on_too() {
        let endless = vec![b'x'; usize::try_from(LONGEST_LINE_BYTES).unwrap() + 1];
        let said = [b"a\xffb\r\n\nc\n".as_slice(), &endless].concat();
        let mut told = Vec::new();
        lines(said.as_slice(), |line| told.push(line.to_owned())).await;
        assert_eq!(told[..3], ["a\u{fffd}b", "", "c"]);
        assert_eq!(told[3..].iter().map(String::len).collect::<Vec<_>>(), [endless.len() - 1, 1]);
    }

    #[test]
    fn a_shard_is_a_number_of_some() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "2", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
