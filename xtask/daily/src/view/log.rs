//! Lines of logs: prefixed with the service's name for a terminal, or raw.
//!
//! A service may print any terminal escape. Only colours pass, and only to an output with colours,
//! so no line moves the cursor or renames the window. Each line resets its colours at its end.

use std::fmt::Write;
use xtask_core::sorted::SortedMap;

use xtask_logs::escapes::{self, Keep};
use xtask_logs::{End, Record, Stream, WATCH_LOG};

use super::style::{DIM, RESET, SERVICES, WARN};

/// Marks a line that is incomplete so far, and the rest of a line that was shown as incomplete.
const OPEN: &str = "…";

/// Prefixes lines with names of services, all of one width.
#[derive(Clone, Debug)]
pub struct Prefixes {
    keep: Keep,
    /// Whether a time at the start of a line loses its date.
    shortens_times: bool,
    services: SortedMap<String, Prefix>,
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
        let mut prefixes =
            Self { keep, shortens_times: false, services: SortedMap::new(), width: 0 };
        for name in names.into_iter().filter(|name| *name != WATCH_LOG) {
            prefixes.add(name);
        }
        prefixes
    }

    /// Shows of a time at the start of a line only the time of day, in milliseconds. For a
    /// terminal, whose rows are short; other outputs get whole lines.
    pub fn shortening_times(mut self, shortens_times: bool) -> Self {
        self.shortens_times = shortens_times;
        self
    }

    pub fn append(&mut self, out: &mut Vec<u8>, service: &str, line: &Record<'_>) {
        // Only the newline of a line that was shown is new.
        if line.continues && line.end == End::Line && line.text.is_empty() {
            return;
        }
        // Its lines are those of cargo and the tool, as in an `up` without a watcher.
        if service == WATCH_LOG {
            escapes::append(out, line.text, self.keep);
            return out.push(b'\n');
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
        let time = match self.shortens_times && !line.continues {
            true => leading_time(line.text),
            false => None,
        };
        match time {
            Some(Time { before, of_day, after }) => {
                let text = [before, of_day, after].concat();
                escapes::append(out, &text, self.keep);
            }
            None => escapes::append(out, line.text, self.keep),
        }
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
        for (name, prefix) in self.services.iter_mut() {
            let (width, color) = (self.width, prefix.color);
            prefix.text = match self.keep {
                Keep::Colours => format!("{color}{name:width$} |{RESET} "),
                Keep::Nothing => format!("{name:width$} | "),
            };
        }
    }
}

/// A line that begins with a time.
struct Time<'a> {
    /// The colour that precedes it, or nothing.
    before: &'a [u8],
    /// Hours to milliseconds, as far as the line has them.
    of_day: &'a [u8],
    /// The rest, without what is left of the time.
    after: &'a [u8],
}

/// The time in RFC 3339 at the start of a line, as loggers print it: `2026-01-31T08:00:00.123456Z`.
fn leading_time(line: &[u8]) -> Option<Time<'_>> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    const DATE: usize = 11;
    const MILLIS: usize = 4;
    let colour = match line.starts_with(b"\x1b[") {
        true => line.iter().position(|byte| *byte == b'm')? + 1,
        false => 0,
    };
    let (before, rest) = line.split_at(colour);
    let time = rest.get(..SHAPE.len())?;
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => *byte == b'T' || *byte == b' ',
        other => byte == other,
    };
    if !time.iter().zip(SHAPE).all(fits) {
        return None;
    }
    let is_fraction = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let fraction = rest[SHAPE.len()..].iter().take_while(is_fraction).count();
    let after = &rest[SHAPE.len() + fraction..];
    let of_day = &rest[DATE..SHAPE.len() + fraction.min(MILLIS)];
    Some(Time { before, of_day, after: after.strip_prefix(b"Z").unwrap_or(after) })
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
    fn time_at_the_start_loses_its_date() {
        let mut prefixes = Prefixes::of(Keep::Nothing, ["a"]).shortening_times(true);
        let mut out = Vec::new();
        for text in [
            "2026-01-31T08:00:01.123456Z  INFO up",
            "\x1b[2m2026-01-31T08:00:01.123456Z\x1b[0m  INFO up",
            "2026-01-31 08:00:01 up",
            "2026-01-31T08:00:01+01:00 up",
            "2026-01-31 is a date",
            "at 2026-01-31T08:00:01Z",
        ] {
            prefixes.append(&mut out, "a", &line(1, Stream::Out, End::Line, text));
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a | 08:00:01.123  INFO up\na | 08:00:01.123  INFO up\na | 08:00:01 up\n\
             a | 08:00:01+01:00 up\na | 2026-01-31 is a date\na | at 2026-01-31T08:00:01Z\n"
        );
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
