//! Joins the records of one log to lines.
//!
//! The supervisor writes a line in pieces if the line is long or its writer pauses. A reader that
//! has reached the end of the log gets the pieces so far, and the rest as a continuation.

use super::record::{End, Record, Stream};

/// The most of an incomplete line that is held, in bytes. More of it becomes a piece.
const HELD_BYTES: usize = 16 * 1024 * 1024;

/// The incomplete lines of one log.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    open: Vec<OpenLine>,
}

#[derive(Debug)]
struct OpenLine {
    run: u64,
    stream: Stream,
    /// The time of its last piece.
    time: String,
    text: Vec<u8>,
    /// Whether its begin is not in `text`.
    continues: bool,
    /// How many bytes of the text were passed on.
    shown: usize,
    /// Whether the reader skips all of its pieces so far.
    skipped: bool,
}

/// Which lines a reader gets, and where they go.
pub(crate) struct Out<'a> {
    /// Whether a line counts; it gets the whole line.
    pub(crate) wanted: &'a dyn Fn(&Record<'_>) -> bool,
    pub(crate) take: &'a mut dyn FnMut(&Record<'_>),
}

impl Joiner {
    /// Passes on what a record completes. With `skipped` the record comes before the lines that
    /// the reader wants.
    pub(crate) fn take(&mut self, record: &Record<'_>, skipped: bool, out: &mut Out<'_>) {
        if record.is_takeover() {
            return self.end(|_| true, out);
        }
        // A later run ends the lines that earlier runs left incomplete.
        self.end(|open| open.run < record.run, out);
        let own = |open: &OpenLine| (open.run, open.stream) == (record.run, record.stream);
        if !record.continues {
            self.end(own, out);
            if record.end == End::Line {
                if !skipped && (out.wanted)(record) {
                    (out.take)(record);
                }
                return;
            }
        }
        let index = self.open.iter().position(own).unwrap_or_else(|| {
            self.open.push(OpenLine::of(record));
            self.open.len() - 1
        });
        let open = &mut self.open[index];
        open.text.extend_from_slice(record.text);
        record.time.clone_into(&mut open.time);
        open.skipped = skipped;
        if record.end == End::Line {
            self.open.remove(index).pass(End::Line, out);
        } else if open.text.len() > HELD_BYTES {
            open.pass(End::Open, out);
            (open.continues, open.shown) = (true, 0);
            open.text.clear();
        }
    }

    /// Passes on the incomplete lines, because the log has no more records now.
    pub(crate) fn flush(&mut self, out: &mut Out<'_>) {
        for open in self.open.iter_mut().filter(|open| open.shown < open.text.len()) {
            open.pass(End::Open, out);
        }
    }

    /// The time of the earliest line that [`Joiner::flush`] passes on.
    pub(crate) fn time(&self) -> Option<&str> {
        self.open.iter().map(|open| open.time.as_str()).min()
    }

    /// Ends lines that no later record continues.
    fn end(&mut self, which: impl Fn(&OpenLine) -> bool, out: &mut Out<'_>) {
        for mut open in self.open.extract_if(.., |open| which(open)) {
            if open.shown < open.text.len() {
                open.pass(End::Open, out);
            }
        }
    }
}

impl OpenLine {
    fn of(record: &Record<'_>) -> Self {
        Self {
            run: record.run,
            stream: record.stream,
            time: String::new(),
            text: Vec::new(),
            continues: record.continues,
            shown: 0,
            skipped: false,
        }
    }

    /// Passes on what was not passed on yet, if the line as a whole is wanted.
    fn pass(&mut self, end: End, out: &mut Out<'_>) {
        let Self { run, stream, continues, .. } = *self;
        let whole = Record { time: &self.time, run, stream, continues, end, text: &self.text };
        if self.skipped || (self.shown == 0 && !(out.wanted)(&whole)) {
            return;
        }
        let text = &self.text[self.shown..];
        (out.take)(&Record { continues: continues || self.shown > 0, text, ..whole });
        self.shown = self.text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(log: &str, wanted: &dyn Fn(&Record<'_>) -> bool) -> Vec<String> {
        let mut joiner = Joiner::default();
        let mut lines = Vec::new();
        let mut take = |line: &Record<'_>| {
            let (before, after) = (line.continues, line.end == End::Open);
            let mark = |is: bool| if is { "…" } else { "" };
            lines.push(format!("{}{}{}", mark(before), line.text_lossy(), mark(after)));
        };
        for record in log.lines() {
            let mut out = Out { wanted, take: &mut take };
            match record {
                "flush" => joiner.flush(&mut out),
                record => joiner.take(&Record::parse(record.as_bytes()).unwrap(), false, &mut out),
            }
        }
        lines
    }

    #[test]
    fn pieces_become_one_line() {
        let log = "t 1 o+ one\nt 1 e error\nt 1 o-+  two\nt 1 o-  three\nt 1 o four\nflush";
        assert_eq!(joined(log, &|_| true), ["error", "one two three", "four"]);
        let wanted = |line: &Record<'_>| line.text_lossy().contains("one two");
        assert_eq!(joined(log, &wanted), ["one two three"]);
    }

    #[test]
    fn incomplete_line_is_shown_and_continued() {
        let log = "t 1 o+ half\nflush\nflush\nt 1 o-+  more\nflush\nt 1 o- \nflush";
        assert_eq!(joined(log, &|_| true), ["half…", "… more…", "…"]);
        let wanted = |line: &Record<'_>| line.text_lossy().contains("more");
        assert_eq!(joined(log, &wanted), ["half more…", "…"]);
    }

    #[test]
    fn runs_do_not_share_lines() {
        let log = "t 1 o+ crashed\nt 2 o new\nt 1 o- late\nt 0 x supervisor 7\nt 1 o+ a\nt 1 o b";
        assert_eq!(joined(log, &|_| true), ["crashed…", "new", "…late", "a…", "b"]);
    }
}
