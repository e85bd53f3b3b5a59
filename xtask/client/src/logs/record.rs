//! A record of a log file: `TIME RUN STREAM text`, and a line's end.
//!
//! STREAM is `o` or `e`; a `+` behind it says that the line does not end here: it was
//! split, as it was long, or its writer went away in the middle of it. So what was
//! printed can be had back byte by byte. `x` are the tool's own words; those of run 0
//! say that a new supervisor took over. Texts are bytes here, as they came.

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// The tool itself has something to say about this log.
    Tool,
}

/// What stood behind a record's text when it was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A line's end.
    Line,
    /// Nothing: the next record of this run and stream goes on, or the line has no end.
    Open,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When, as the file says: RFC 3339 in UTC with milliseconds, so that text order is
    /// time order.
    pub time: &'a str,
    /// The run that printed it.
    pub run: u64,
    /// Where it came from.
    pub stream: Stream,
    /// Whether the line ended with it.
    pub end: End,
    /// What was printed, without the line's end.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// The parts of a record without its line's end; none if it is not one.
    #[must_use]
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (time, rest) = word(record)?;
        let (run, rest) = word(rest)?;
        let (stream, text) = word(rest).unwrap_or((rest, &[]));
        let (stream, end) = match stream {
            b"o" => (Stream::Out, End::Line),
            b"o+" => (Stream::Out, End::Open),
            b"e" => (Stream::Err, End::Line),
            b"e+" => (Stream::Err, End::Open),
            b"x" => (Stream::Tool, End::Line),
            _ => return None,
        };
        let number = |run: u64, byte: &u8| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            run.checked_mul(10)?.checked_add(digit)
        };
        let run = run.iter().try_fold(0, number)?;
        Some(Self { time: std::str::from_utf8(time).ok()?, run, stream, end, text })
    }

    /// Whether it only says that a new supervisor, which counts runs anew, took over.
    #[must_use]
    pub fn is_takeover(&self) -> bool {
        self.stream == Stream::Tool && self.run == 0
    }

    /// The text, with the replacement character where it is none.
    #[must_use]
    pub fn text_lossy(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.text)
    }
}

/// What stands before the first space, and behind it.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    Some((&bytes[..space], &bytes[space + 1..]))
}

/// What a record begins with: everything before its text.
#[must_use]
pub fn head(time: &str, run: u64, stream: Stream, end: End) -> String {
    let stream = match (stream, end) {
        (Stream::Out, End::Line) => "o",
        (Stream::Out, End::Open) => "o+",
        (Stream::Err, End::Line) => "e",
        (Stream::Err, End::Open) => "e+",
        (Stream::Tool, End::Line | End::Open) => "x",
    };
    format!("{time} {run} {stream} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-02T03:04:05.678Z";

    #[test]
    fn what_is_written_is_what_is_read() {
        for (stream, end) in [
            (Stream::Out, End::Line),
            (Stream::Out, End::Open),
            (Stream::Err, End::Line),
            (Stream::Err, End::Open),
            (Stream::Tool, End::Line),
        ] {
            let mut record = head(TIME, 34, stream, end).into_bytes();
            record.extend_from_slice(b" a\0b \xff ");
            let line = Line { time: TIME, run: 34, stream, end, text: b" a\0b \xff " };
            assert_eq!(Line::parse(&record), Some(line));
        }
    }

    #[test]
    fn an_empty_line_is_a_record_and_half_a_head_is_none() {
        assert_eq!(Line::parse(b"t 1 o ").unwrap().text, b"");
        assert_eq!(Line::parse(b"t 1 o").unwrap().text, b"");
        for wrong in [&b""[..], b"t", b"t 1", b"t x o text", b"t 1 q text", b"\xff 1 o text"] {
            assert_eq!(Line::parse(wrong), None, "{wrong:?}");
        }
    }
}
