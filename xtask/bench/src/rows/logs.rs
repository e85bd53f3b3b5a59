//! Log lines from a service to a pipe and a file, against `cat`.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::Bench;
use crate::graph::Graph;
use crate::row::{Limit, Row};
use crate::workspace::{Readiness, Workspace};

/// Part of every line of the helper.
const PART: &[u8] = &[b'x'; 99];

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let lines = bench.size(1_000_000, 10_000);
    let count = lines.to_string();
    let mut row = Row::new(
        "logs",
        format!("{lines} lines of 100 bytes, first to last, to a pipe and a file; ideal: `cat`"),
    );
    row.limit = Some(Limit::Times(2.0));
    let mut ideal = crate::samples::Samples::default();
    for _ in 0..bench.runs {
        let started = Command::new(&bench.programs.helper)
            .args(["lines", &count])
            .stdout(Stdio::piped())
            .spawn();
        let mut helper = Ended(started.context("failed to start the helper")?);
        let input = helper.0.stdout.take().context("the helper has no output")?;
        let cat = Command::new("cat").stdin(input).stdout(Stdio::piped()).spawn();
        let mut cat = Ended(cat.context("failed to start `cat`")?);
        ideal.push_time(time_of(cat.0.stdout.take().context("no output")?, lines)?);
        drop((helper, cat));

        // A workspace of its own for each run, so that each starts with an empty log.
        let graph = Graph::chain(1);
        let workspace =
            Workspace::of_helpers(&bench.programs, &graph, Readiness::Notify, &["lines", &count])?;
        let mut up = workspace.xtask(&["up", "--no-build"]);
        let up = up.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null()).spawn();
        let mut up = Ended(up.context("failed to start the tool")?);
        // The stack ends with its `up`, which ends when its output is closed.
        let mut output = up.0.stdout.take().context("no output")?;
        row.ours.push_time(time_of(&mut output, lines)?);
        let mut kept = 0;
        for file in workspace.log_files() {
            kept += occurrences(&fs::read(file)?);
        }
        if kept != lines {
            bail!("the log has {kept} of {lines} lines");
        }
        workspace.down()?;
        drop(output);
    }
    row.ideal = Some(ideal);
    row.notes.push("no line was lost, in the pipe and in the file".to_owned());
    Ok(vec![row])
}

/// The time from the first line until all have arrived.
fn time_of(mut output: impl Read, lines: usize) -> anyhow::Result<Duration> {
    let mut buffer = vec![0; 1 << 20];
    let (mut held, mut seen, mut first) = (0, 0, None);
    while seen < lines {
        let read = output.read(&mut buffer[held..])?;
        if read == 0 {
            bail!("only {seen} of {lines} lines arrived");
        }
        held += read;
        // What follows the last whole line is kept for the next read.
        let whole = buffer[..held].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let found = occurrences(&buffer[..whole]);
        if found > 0 {
            first = first.or(Some(Instant::now()));
        }
        seen += found;
        buffer.copy_within(whole..held, 0);
        held -= whole;
    }
    Ok(first.map_or(Duration::ZERO, |first| first.elapsed()))
}

/// The number of lines that the helper printed. A prefix ends before the part.
fn occurrences(text: &[u8]) -> usize {
    text.split(|&byte| byte == b'\n').filter(|line| line.ends_with(PART)).count()
}

/// A process that is killed in the end.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_the_helper_count() {
        let line = [b"a | ", PART, b"\n"].concat();
        let text = [&line[..], b"a is ready\n", &line, PART].concat();
        assert_eq!(occurrences(&line), 1);
        assert!(time_of(&text[..], 2).is_ok());
        assert!(time_of(&text[..], 3).is_err());
    }
}
