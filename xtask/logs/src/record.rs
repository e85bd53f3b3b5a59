//! A record of a log file: `TIME RUN STREAM text` and a newline.
//!
//! STREAM is `o` or `e` for standard output and standard error. With a `+` at its end the line
//! does not end here: it is long, its writer paused, or its writer exited in the middle. With a `-`
//! after the letter the record continues such a line. So lines can be restored from any place of a
//! log on. `x` marks messages of the tool; in run 0 such a message means that a new supervisor took
//! over. A text is the service's bytes, unchanged.

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
    /// Whether the text continues the line of an earlier record of this run and stream.
    pub continues: bool,
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
        let (letter, marks) = stream.split_first()?;
        let (continues, end) = match marks {
            b"" => (false, End::Line),
            b"+" => (false, End::Open),
            b"-" => (true, End::Line),
            b"-+" => (true, End::Open),
            _ => return None,
        };
        let stream = match letter {
            b'o' => Stream::Out,
            b'e' => Stream::Err,
            b'x' if marks.is_empty() => Stream::Tool,
            _ => return None,
        };
        let number = |run: u64, byte: &u8| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            run.checked_mul(10)?.checked_add(digit)
        };
        let run = run.iter().try_fold(0, number)?;
        let time = std::str::from_utf8(time).ok()?;
        Some(Self { time, run, stream, continues, end, text })
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

/// The head of a message of the tool: everything before its text.
pub fn tool_head(time: &str, run: u64) -> String {
    format!("{time} {run} x ")
}

/// The head of a record of output: everything before its text.
pub fn head(time: &str, run: u64, stream: Stream, continues: bool, end: End) -> String {
    let letter = match stream {
        Stream::Out => "o",
        Stream::Err => "e",
        Stream::Tool => return tool_head(time, run),
    };
    let continues = if continues { "-" } else { "" };
    let open = if end == End::Open { "+" } else { "" };
    format!("{time} {run} {letter}{continues}{open} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-02T03:04:05.678Z";

    #[test]
    fn written_record_is_read_back() {
        for (stream, continues, end) in [
            (Stream::Out, false, End::Line),
            (Stream::Out, false, End::Open),
            (Stream::Out, true, End::Open),
            (Stream::Err, true, End::Line),
            (Stream::Err, false, End::Open),
            (Stream::Tool, false, End::Line),
        ] {
            let mut bytes = head(TIME, 34, stream, continues, end).into_bytes();
            bytes.extend_from_slice(b" a\0b \xff ");
            let text = b" a\0b \xff ";
            let record = Record { time: TIME, run: 34, stream, continues, end, text };
            assert_eq!(Record::parse(&bytes), Some(record));
        }
    }

    #[test]
    fn empty_text_is_a_record_and_half_head_none() {
        assert_eq!(Record::parse(b"t 1 o ").unwrap().text, b"");
        assert_eq!(Record::parse(b"t 1 o").unwrap().text, b"");
        for wrong in
            [&b""[..], b"t", b"t 1", b"t x o text", b"t 1 q text", b"t 1 x+ a", b"\xff 1 o a"]
        {
            assert_eq!(Record::parse(wrong), None, "{wrong:?}");
        }
    }
}
