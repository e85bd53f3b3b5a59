//! What is printed: much, too much, and what is no text.

use std::io::{self, Write as _};
use std::thread;

use crate::wanted::Wanted;

/// Prints a line at once, and ignores a closed pipe.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
    let _ = io::stdout().flush();
}

pub(crate) fn print_much(wanted: &Wanted) {
    if let Some(lines) = wanted.number("--flood") {
        flood(lines, wanted.number("--line-bytes").unwrap_or(0));
    }
    if let Some(bytes) = wanted.number("--long-line") {
        let text = "long ".bytes().cycle().take(usize::try_from(bytes).unwrap_or(usize::MAX));
        let _ = io::stdout().write_all(&text.chain([b'\n']).collect::<Vec<u8>>());
    }
    if wanted.has("--flood-on") {
        let mut out = io::BufWriter::new(io::stdout().lock());
        while writeln!(out, "a flood without end").is_ok() {}
    }
    if wanted.has("--junk") {
        let junk = b"a\0b \xff\xfe \x1b[31mred\x1b[0m \x1b[2J\x1b]0;t\x07end\n";
        let _ = io::stdout().write_all(junk);
    }
    if wanted.has("--torn") {
        for piece in ["one ", "two ", "three\n"] {
            let _ = write!(io::stdout(), "out {piece}").and_then(|()| io::stdout().flush());
            let _ = write!(io::stderr(), "err {piece}");
        }
    }
    if wanted.has("--half-line") {
        let _ = write!(io::stdout(), "half a line");
        let _ = io::stdout().flush();
    }
    if let Some(pause) = wanted.pause("--tick") {
        thread::spawn(move || {
            for tick in 1_u64.. {
                say(&format!("tick {tick}"));
                thread::sleep(pause);
            }
        });
    }
}

pub(crate) fn flood(lines: u64, bytes: u64) {
    let width = usize::try_from(bytes).unwrap_or(0).saturating_sub(1);
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    for line in 1..=lines {
        let text = format!("flood {line} of {lines}");
        let _ = writeln!(out, "{text:.<width$}");
    }
    let _ = out.flush();
}
