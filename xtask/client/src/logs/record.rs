//! A record of a log file: `TIME RUN STREAM text` and a newline.
//!
//! STREAM is `o` or `e` for standard output and standard error. With a `+` after it the line does
//! not end here: it was split because it is long, or its writer exited in the middle. So the output
//! can be restored byte by byte. `x` marks messages of the tool; in run 0 such a message means that
//! a new supervisor took over. A text is the service's bytes, unchanged.

/// The source of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// A message of the tool about this log.
    Tool,
}

/// What followed a record's text in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A newline: the line is complete.
    Line,
    /// No newline: the next record of this run and stream continues the line, if there is one.
    Open,
}

/// The parts of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The time: RFC 3339 in UTC with milliseconds, so that text order is time order.
    pub time: &'a str,
    /// The run of the service that printed it.
    pub run: u64,
    /// The source of the text.
    pub stream: Stream,
    /// Whether a newline followed the text.
    pub end: End,
    /// The printed bytes, without the newline.
    pub text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Parses a record without its newline; `None` if it is malformed.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (time, rest) = word(bytes)?;
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

    /// Whether a new supervisor took over here, so that runs are counted from 1 again.
    pub fn is_takeover(&self) -> bool {
        self.stream == Stream::Tool && self.run == 0
    }

    /// The text, with the replacement character for bytes that are not UTF-8.
    pub fn text_lossy(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.text)
    }
}

/// The bytes before the first space, and those after it.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    Some((&bytes[..space], &bytes[space + 1..]))
}

/// The head of a record: everything before its text.
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
    fn written_record_is_read_back() {
        for (stream, end) in [
            (Stream::Out, End::Line),
            (Stream::Out, End::Open),
            (Stream::Err, End::Line),
            (Stream::Err, End::Open),
            (Stream::Tool, End::Line),
        ] {
            let mut bytes = head(TIME, 34, stream, end).into_bytes();
            bytes.extend_from_slice(b" a\0b \xff ");
            let record = Record { time: TIME, run: 34, stream, end, text: b" a\0b \xff " };
            assert_eq!(Record::parse(&bytes), Some(record));
        }
    }

    #[test]
    fn empty_text_is_a_record_and_half_head_none() {
        assert_eq!(Record::parse(b"t 1 o ").unwrap().text, b"");
        assert_eq!(Record::parse(b"t 1 o").unwrap().text, b"");
        for wrong in [&b""[..], b"t", b"t 1", b"t x o text", b"t 1 q text", b"\xff 1 o text"] {
            assert_eq!(Record::parse(wrong), None, "{wrong:?}");
        }
    }
}
