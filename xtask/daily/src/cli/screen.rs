//! Live lines at the bottom of the terminal, below everything that commands and services print.
//!
//! Text that is printed replaces the live lines, and they are drawn again below it. So the text
//! scrolls, and is selected and copied, as without them. The lines are on standard error, and only
//! if it is a terminal that can move its cursor.
//!
//! [`set`] never waits for the terminal: the thread of [`super::stderr`] draws. A text that is
//! being written holds the lock of what is drawn, and a stuck terminal holds up only its writers.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::color::is_set;
use super::stderr;
use crate::system::terminal::{Size, size};
use crate::view::fit::{fit, width};
use crate::view::visible::visible;

/// Makes terminals that know it show both writes at once.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";

/// What the next drawing shows.
struct Wanted {
    /// The progress of cargo, above the other lines.
    build: Option<String>,
    lines: Vec<String>,
}

/// The columns of each line that the terminal shows now.
static DRAWN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

static WANTED: Mutex<Wanted> = Mutex::new(Wanted { build: None, lines: Vec::new() });

/// Whether there are live lines.
static ON: AtomicBool = AtomicBool::new(false);

fn wanted() -> MutexGuard<'static, Wanted> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether standard error can show live lines: a terminal that moves its cursor, unless a variable
/// asks for plain output.
pub(crate) fn is_possible() -> bool {
    let moves = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    moves && io::stderr().is_terminal() && !is_set("CI") && !is_set("NO_COLOR")
}

/// Turns live lines on.
pub(crate) fn start() {
    ON.store(true, Ordering::Relaxed);
    stderr::redraw();
}

/// Whether live lines are shown now.
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Turns live lines off and removes them. Waits at most a second for the terminal.
pub(crate) fn stop() {
    if ON.swap(false, Ordering::Relaxed) {
        stderr::write(String::new());
    }
}

/// Shows these lines from now on, each on one row.
pub(crate) fn set(lines: Vec<String>) {
    let mut wanted = wanted();
    if wanted.lines != lines {
        wanted.lines = lines;
        drop(wanted);
        stderr::redraw();
    }
}

/// Draws the lines again, for a terminal whose size has changed.
pub(crate) fn redraw() {
    stderr::redraw();
}

/// Shows the progress of cargo from now on, or none.
pub(crate) fn set_build(text: Option<String>) {
    let mut wanted = wanted();
    if wanted.build != text {
        wanted.build = text;
        drop(wanted);
        stderr::redraw();
    }
}

/// Writes above the live lines. `write` writes whole lines to the terminal, or elsewhere.
pub(super) fn above<T>(write: impl FnOnce() -> T) -> T {
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    if drawn.is_empty() && !is_on() {
        return write();
    }
    let size = size();
    print(&format!("{BEGIN}{}", removal(&drawn, size)));
    let result = write();
    let text = if is_on() { rows(&wanted(), size) } else { Vec::new() };
    *drawn = text.iter().map(|line| width(line)).collect();
    print(&format!("{}{END}", text.join("\n")));
    result
}

fn print(text: &str) {
    let mut stream = io::stderr().lock();
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

/// The escapes that remove drawn lines, with the cursor at the end of the last one. A terminal that
/// became narrower has wrapped them.
fn removal(drawn: &[usize], size: Size) -> String {
    let rows: usize = drawn.iter().map(|width| width.div_ceil(size.columns).max(1)).sum();
    match rows {
        0 => String::new(),
        1 => "\r\x1b[J".to_owned(),
        rows => format!("\r\x1b[{}A\x1b[J", rows - 1),
    }
}

/// The lines as they are drawn, as many as half the terminal holds. The last column stays free,
/// where some terminals would wrap.
fn rows(wanted: &Wanted, size: Size) -> Vec<String> {
    let lines = wanted.build.iter().chain(&wanted.lines).map(|line| {
        let line = visible(line).replace(['\n', '\t'], " ");
        fit(&line, size.columns.saturating_sub(1))
    });
    let lines: Vec<String> = lines.collect();
    let most = (size.rows / 2).max(1);
    let skipped = lines.len().saturating_sub(most);
    // The last line has the keys.
    lines.into_iter().skip(skipped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_counts_wrapped_rows() {
        let at = |columns| Size { columns, rows: 24 };
        assert_eq!(removal(&[], at(80)), "");
        assert_eq!(removal(&[79], at(80)), "\r\x1b[J");
        assert_eq!(removal(&[79, 0, 10], at(80)), "\r\x1b[2A\x1b[J");
        assert_eq!(removal(&[79, 10], at(40)), "\r\x1b[2A\x1b[J");
    }

    #[test]
    fn rows_are_cut_and_harmless() {
        let lines = ["\x1b]0;owned\x07 \x1b[2J", "a\nb", &"x".repeat(99)].map(str::to_owned);
        let wanted = Wanted { build: Some("build".to_owned()), lines: lines.to_vec() };
        let drawn = rows(&wanted, Size { columns: 40, rows: 24 });
        let harmless = "\\u{1b}]0;owned\\u{7} \\u{1b}[2J";
        assert_eq!(drawn[..3], ["build", harmless, "a b"]);
        assert_eq!(width(&drawn[3]), 39);
        // Half of the rows are left to the logs.
        let few = rows(&wanted, Size { columns: 40, rows: 4 });
        assert_eq!(few, drawn[2..]);
    }
}
