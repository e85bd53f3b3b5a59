//! `replay`: steps the events of a record again, and shows the first difference.
//!
//! It needs no workspace and starts nothing: a record is all that the reducer saw.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use xtask_core::record::{RecordLine, RecordStep, Replay, StepComparison, VERSION};

use super::exit::Exit;
use super::print;
use crate::view::style::{self, WARN};
use crate::view::trace::{self, EndJson, Outcome, StepJson};

/// `replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// What `up --record FILE` or a failing simulation wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON value an event, secrets included, and one for the end
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let begun = Reader::open(&args.file).and_then(|mut reader| Ok((reader.next()?, reader)));
    let (first, mut reader) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            print::error(&error);
            return Ok(Exit::USAGE);
        }
    };
    let version = match first {
        Read::RecordLine(RecordLine::Begin { version, .. }) => version,
        Read::RecordLine(RecordLine::Step(_) | RecordLine::Check(_))
        | Read::Unread(_)
        | Read::End => {
            let what = format!("`{}` is not a record: its first line is none", args.file.display());
            print::error_with_hint(&what, "`cargo xtask up --record FILE` writes one");
            return Ok(Exit::USAGE);
        }
    };
    let mut replaying = Replaying::new(args.json);
    if version != VERSION {
        let why = format!(
            "the record has version {version} of the format, and this program reads version \
             {VERSION}"
        );
        print::say(WARN, "Replaying", &format!("what can be read: {why}"));
        replaying.unread = Some(why);
    }
    let outcome = loop {
        match reader.next()? {
            Read::End if replaying.unread.is_none() => break Outcome::Same,
            Read::End => break Outcome::Unread,
            Read::Unread(why) => {
                // With another version it is no wonder.
                replaying.unread.get_or_insert(why);
                break Outcome::Unread;
            }
            Read::RecordLine(RecordLine::Step(step)) => {
                if replaying.step(reader.line, &step)? {
                    break Outcome::Differs;
                }
            }
            Read::RecordLine(RecordLine::Check(_) | RecordLine::Begin { .. }) => {}
        }
    };
    replaying.end(outcome)
}

/// What comes next in a file.
enum Read {
    RecordLine(RecordLine),
    /// No line that makes sense, and why.
    Unread(String),
    End,
}

/// A file, line by line.
struct Reader {
    file: BufReader<File>,
    shown: String,
    /// The number of the last line, counted from 1.
    line: usize,
}

impl Reader {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = format!("cannot read `{}`", path.display());
        let file = File::open(path).with_context(|| shown.clone())?;
        Ok(Self { file: BufReader::new(file), shown, line: 0 })
    }

    fn next(&mut self) -> anyhow::Result<Read> {
        let mut bytes = Vec::new();
        self.file.read_until(b'\n', &mut bytes).with_context(|| self.shown.clone())?;
        if bytes.is_empty() {
            return Ok(Read::End);
        }
        self.line += 1;
        let line = self.line;
        Ok(match serde_json::from_slice(&bytes) {
            Ok(read) => Read::RecordLine(read),
            Err(_) if bytes.last() != Some(&b'\n') => {
                Read::Unread(format!("the record is cut off in the middle of line {line}"))
            }
            Err(error) => Read::Unread(format!("line {line} makes no sense: {error}")),
        })
    }
}

/// A replay, as it is shown.
struct Replaying {
    json: bool,
    replay: Replay,
    events: usize,
    compared: usize,
    unread: Option<String>,
}

impl Replaying {
    fn new(json: bool) -> Self {
        Self { json, replay: Replay::new(), events: 0, compared: 0, unread: None }
    }

    /// Shows a step, and says whether its effects differ from the recorded ones.
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
            return Ok(differs_at.is_some());
        }
        print::out(&trace::step(step, &effects))?;
        if let Some(at) = differs_at {
            print::out(&trace::difference(line, step, &effects, at))?;
        }
        Ok(differs_at.is_some())
    }

    fn end(self, outcome: Outcome) -> anyhow::Result<Exit> {
        let Self { events, compared, unread, .. } = self;
        let end = EndJson { outcome, events, compared, ended: self.replay.is_over(), unread };
        match (self.json, outcome) {
            (true, _) => print::json(&end)?,
            (false, Outcome::Same | Outcome::Unread) => print::out(&trace::end(&end))?,
            (false, Outcome::Differs) => {}
        }
        if let Some(why) = &end.unread
            && !self.json
        {
            print::tell(&format!(
                "{}error{}: not all was replayed: {why}",
                style::BAD,
                style::RESET
            ));
        }
        Ok(match outcome {
            Outcome::Same => Exit::DONE,
            Outcome::Differs | Outcome::Unread => Exit::FAILED,
        })
    }
}
