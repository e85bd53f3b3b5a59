//! `replay`: steps the events of a record again, and prints the first difference.
//!
//! It needs no workspace, because a record contains everything that the reducer read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use xtask_core::record::{RecordLine, RecordStep, Replay, StepComparison, VERSION};

use xtask::cli::error::Failure;
use xtask::cli::{Exit, print};
use xtask::view::style::WARN;

use crate::view::trace::{self, EndJson, Outcome, StepJson};

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The record that `up --record FILE` or a failing simulation wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print a JSON value for each event, secrets included, and one for the end
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let file = args.file.clone();
    let first = Reader::open(&file).and_then(|mut reader| Ok((reader.first()?, reader)));
    let (version, mut reader) = match first {
        Ok((Read::Line(RecordLine::Begin { version, .. }), reader)) => (version, reader),
        Ok(_) => return Err(not_a_record(&file)),
        Err(source) => return Err(unreadable(&file, source)),
    };
    let mut replaying = Replaying { json: args.json, ..Replaying::default() };
    if version != VERSION {
        let why = format!(
            "the record has version {version} of the format, and this tool reads version \
             {VERSION}"
        );
        print::progress(WARN, "Replaying", &format!("the readable part: {why}"));
        replaying.unread = Some(why);
    }
    let outcome = loop {
        match reader.next().with_context(|| format!("failed to read `{}`", file.display()))? {
            Read::End if replaying.unread.is_none() => break Outcome::Same,
            Read::End => break Outcome::Unread,
            Read::Unread(why) => {
                // A record of another version keeps its own reason.
                replaying.unread.get_or_insert(why);
                break Outcome::Unread;
            }
            Read::Line(RecordLine::Step(step)) => {
                if replaying.step(reader.line, &step)? {
                    break Outcome::Differs;
                }
            }
            Read::Line(RecordLine::Check(_) | RecordLine::Begin { .. }) => {}
        }
    };
    replaying.end(outcome)
}

fn not_a_record(file: &Path) -> anyhow::Error {
    let message =
        format!("`{}` is not a record: its first line has another format", file.display());
    let hint = "`%xtask% up --record FILE` writes one".to_owned();
    Failure::new(Exit::USAGE, message).hint(hint).into()
}

fn unreadable(file: &Path, source: io::Error) -> anyhow::Error {
    let message = format!("failed to read the record `{}`", file.display());
    Failure::new(Exit::USAGE, message).cause(source).into()
}

enum Read {
    Line(RecordLine),
    /// A malformed line, and the reason.
    Unread(String),
    End,
}

/// A file without line breaks may be endless.
const LONGEST_FIRST_LINE: u64 = 64 * 1024;

struct Reader {
    file: BufReader<File>,
    /// The number of the last line, from 1.
    line: usize,
}

impl Reader {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), line: 0 })
    }

    /// The first line, which is short in a record.
    fn first(&mut self) -> io::Result<Read> {
        self.read(LONGEST_FIRST_LINE)
    }

    fn next(&mut self) -> io::Result<Read> {
        self.read(u64::MAX)
    }

    fn read(&mut self, longest: u64) -> io::Result<Read> {
        let mut bytes = Vec::new();
        (&mut self.file).take(longest).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(Read::End);
        }
        self.line += 1;
        let line = self.line;
        Ok(match serde_json::from_slice(&bytes) {
            Ok(read) => Read::Line(read),
            Err(_) if bytes.last() != Some(&b'\n') => {
                Read::Unread(format!("the record ends in the middle of line {line}"))
            }
            Err(error) => Read::Unread(format!("line {line} is malformed: {error}")),
        })
    }
}

#[derive(Default)]
struct Replaying {
    json: bool,
    replay: Replay,
    events: usize,
    compared: usize,
    unread: Option<String>,
}

impl Replaying {
    /// Prints a step, and returns whether its effects differ from the recorded ones.
    fn step(&mut self, line: usize, step: &RecordStep) -> anyhow::Result<bool> {
        let (effects, comparison) = self.replay.step(step);
        self.events += 1;
        let (compared, differs_at) = match comparison {
            StepComparison::Same => (true, None),
            StepComparison::Differs { at } => (true, Some(at)),
            StepComparison::Nothing => (false, None),
        };
        self.compared += usize::from(compared);
        if self.json {
            print::json(&StepJson { line, step, replayed: &effects, differs_at })?;
        } else {
            print::out(&trace::step(step, &effects))?;
            if let Some(at) = differs_at {
                print::out(&trace::difference(line, step, &effects, at))?;
            }
        }
        Ok(differs_at.is_some())
    }

    fn end(self, outcome: Outcome) -> anyhow::Result<Exit> {
        let Self { events, compared, unread, .. } = self;
        let end = EndJson { outcome, events, compared, ended: self.replay.is_over(), unread };
        if self.json {
            print::json(&end)?;
        } else {
            if outcome != Outcome::Differs {
                print::out(&trace::end(&end))?;
            }
            if let Some(why) = &end.unread {
                let hint = "record the stack again with this tool: `%xtask% up --record FILE`";
                print::error(&format!("the replay is incomplete: {why}"), Some(hint));
            }
        }
        Ok(if outcome == Outcome::Same { Exit::DONE } else { Exit::FAILED })
    }
}
