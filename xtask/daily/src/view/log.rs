//! Lines of logs: prefixed with the service's name for a terminal, or raw.
//!
//! A service may print any terminal escape. Only colours pass, and only to an output with colours,
//! so no line moves the cursor or renames the window. Each line resets its colours at its end.

use std::collections::BTreeMap;
use std::fmt::Write;

use xtask_client::escapes::{self, Keep};
use xtask_client::logs::{End, Record, Stream};

use super::style::{DIM, RESET, SERVICES, WARN};

/// Marks a line that is incomplete so far, and the rest of a line that was shown as incomplete.
const OPEN: &str = "…";

/// Prefixes lines with names of services, all of one width.
#[derive(Clone, Debug)]
pub struct Prefixes {
    keep: Keep,
    services: BTreeMap<String, Prefix>,
    width: usize,
}

#[derive(Clone, Debug)]
struct Prefix {
    color: &'static str,
    text: String,
}

impl Prefixes {
    /// Creates prefixes for these services; others are added when they print.
    pub fn of<'a>(keep: Keep, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut prefixes = Self { keep, services: BTreeMap::new(), width: 0 };
        for name in names {
            prefixes.add(name);
        }
        prefixes
    }
    pub fn append(&mut self, out: &mut Vec<u8>, service: &str, line: &Record<'_>) {
        // Only the newline of a line that was shown is new.
        if line.continues && line.end == End::Line && line.text.is_empty() {
            return;
        }
        match self.services.get(service) {
            Some(prefix) => out.extend_from_slice(prefix.text.as_bytes()),
            None => {
                self.add(service);
                return self.append(out, service, line);
            }
        }
        if line.stream == Stream::Tool {
            return self.note(out, line);
        }
        if line.continues {
            out.extend_from_slice(OPEN.as_bytes());
        }
        escapes::append(out, line.text, self.keep);
        if line.end == End::Open {
            out.extend_from_slice(OPEN.as_bytes());
        }
        out.push(b'\n');
    }
    fn note(&self, out: &mut Vec<u8>, line: &Record<'_>) {
        let (on, off) = if self.keep == Keep::Colours { (WARN, RESET) } else { ("", "") };
        out.extend_from_slice(on.as_bytes());
        out.push(b'[');
        escapes::append(out, line.text, Keep::Nothing);
        out.push(b']');
        out.extend_from_slice(off.as_bytes());
        out.push(b'\n');
    }

    fn add(&mut self, service: &str) {
        let color = SERVICES[self.services.len() % SERVICES.len()];
        self.services.insert(service.to_string(), Prefix { color, text: String::new() });
        self.width = self.width.max(service.chars().count());
        for (name, prefix) in &mut self.services {
            let (width, color) = (self.width, prefix.color);
            prefix.text = match self.keep {
                Keep::Colours => format!("{color}{name:width$} |{RESET} "),
                Keep::Nothing => format!("{name:width$} | "),
            };
        }
    }
}

/// Restores the bytes that a service printed.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    /// Service, run and stream of the unfinished line.
    open: Option<(String, u64, Stream)>,
}

impl Plain {
    /// Appends a line as it was printed. Before a line of another stream it ends an unfinished one.
    pub fn append(&mut self, out: &mut Vec<u8>, service: &str, line: &Record<'_>) {
        if line.stream == Stream::Tool {
            return;
        }
        let is_same = |(name, run, stream): (String, u64, Stream)| {
            name == service && run == line.run && stream == line.stream
        };
        if self.open.take().is_some_and(|open| !is_same(open)) {
            out.push(b'\n');
        }
        out.extend_from_slice(line.text);
        match line.end {
            End::Line => out.push(b'\n'),
            End::Open => self.open = Some((service.to_owned(), line.run, line.stream)),
        }
    }
}

/// The last lines of a log for a message, indented and without prefix.
pub fn excerpt(lines: &[String]) -> String {
    let mut out = String::new();
    for line in lines {
        let record = Record::parse(line.as_bytes());
        let text = record.map_or(line.as_bytes(), |line| line.text);
        let mut cleaned = Vec::new();
        escapes::append(&mut cleaned, text, Keep::Colours);
        let open = if record.is_some_and(|line| line.end == End::Open) { OPEN } else { "" };
        let _ = writeln!(out, "      {DIM}|{RESET} {}{open}", String::from_utf8_lossy(&cleaned));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(run: u64, stream: Stream, end: End, text: &str) -> Record<'_> {
        Record { time: "", run, stream, continues: false, end, text: text.as_bytes() }
    }

    fn rest(end: End, text: &str) -> Record<'_> {
        Record { continues: true, ..line(1, Stream::Out, end, text) }
    }

    fn cleaned(text: &[u8]) -> String {
        let mut out = Vec::new();
        escapes::append(&mut out, text, Keep::Colours);
        String::from_utf8(out).unwrap()
    }

    fn shown<'a>(keep: Keep, lines: &[(&str, Record<'a>)]) -> String {
        let mut prefixes = Prefixes::of(keep, lines.iter().map(|(service, _)| *service));
        let mut out = Vec::new();
        for (service, line) in lines {
            prefixes.append(&mut out, service, line);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_colours_pass() {
        assert_eq!(cleaned(b"plain"), "plain");
        assert_eq!(cleaned(b"\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m\x1b[0m");
        assert_eq!(cleaned(b"a\x1b[2Jb\x1b[10;3Hc"), "abc");
        assert_eq!(cleaned(b"\x1b]0;title\x07x\x1b]8;;u\x1b\\y"), "xy");
        assert_eq!(cleaned(b"50%\r100%\x08\x07\0"), "50%100%");
        assert_eq!(cleaned(b"a\xffb\xfe"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn prefixes_have_one_width_and_own_colours() {
        let hello = line(1, Stream::Out, End::Line, "hello");
        let both = [("a", hello), ("long", hello)];
        assert_eq!(shown(Keep::Nothing, &both), "a    | hello\nlong | hello\n");
        let colours = shown(Keep::Colours, &both);
        assert!(colours.starts_with("\x1b[36ma    |\x1b[0m hello\n\x1b[33mlong |"), "{colours:?}");
    }

    #[test]
    fn unfinished_lines_are_marked() {
        let shown = shown(
            Keep::Nothing,
            &[
                ("a", line(1, Stream::Out, End::Open, "one")),
                ("a", line(1, Stream::Err, End::Line, "error")),
                ("a", rest(End::Open, "two")),
                ("a", rest(End::Line, "three")),
                ("a", rest(End::Line, "")),
                ("a", line(1, Stream::Out, End::Open, "half")),
                ("a", line(2, Stream::Out, End::Line, "whole")),
            ],
        );
        assert_eq!(shown, "a | one…\na | error\na | …two…\na | …three\na | half…\na | whole\n");
    }

    #[test]
    fn plain_restores_every_byte() {
        let mut plain = Plain::default();
        let mut out = Vec::new();
        for part in [
            line(1, Stream::Out, End::Open, "\x1b[2Jone"),
            line(1, Stream::Out, End::Line, " and two"),
            line(1, Stream::Tool, End::Line, "lines are missing"),
            line(1, Stream::Out, End::Open, "half"),
            line(1, Stream::Err, End::Line, "error"),
        ] {
            plain.append(&mut out, "a", &part);
        }
        assert_eq!(out, b"\x1b[2Jone and two\nhalf\nerror\n");
    }
}
