//! Reports tests that are skipped because something is missing on this machine.
//!
//! `.ci/run` decides whether that is a failure.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The variable with the file that gets one line per skipped test: the missing thing, a tab, and
/// the test's name. Runners hide the output of passing tests.
pub const SKIPPED_TESTS: &str = "SKIPPED_TESTS";

/// Reports that a test, or a part of it, is skipped: on standard error, and in the file in
/// [`SKIPPED_TESTS`].
///
/// # Panics
/// When the file cannot be written.
pub fn skipped(missing: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("skipped without {missing}: {test}");
    if let Some(file) = std::env::var_os(SKIPPED_TESTS) {
        let file = OpenOptions::new().create(true).append(true).open(file);
        let written = file.and_then(|mut file| writeln!(file, "{missing}\t{test}"));
        written.expect("the file in `SKIPPED_TESTS` is writable");
    }
}
