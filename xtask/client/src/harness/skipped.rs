//! Tests that cannot run where something is missing.
//!
//! Whether that is well is for whoever runs them to say: here it is only told.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The variable that names the file for a line about each test that was skipped: what is
/// missing, a tab, and the test. Runners do not show what tests say that pass.
pub const SKIPPED_TESTS: &str = "SKIPPED_TESTS";

/// Says that a test, or a part of it, is skipped for want of something, on standard error and
/// in the file that [`SKIPPED_TESTS`] names.
///
/// # Panics
/// When that file cannot be written.
pub fn skipped(missing: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("skipped for want of {missing}: {test}");
    if let Some(file) = std::env::var_os(SKIPPED_TESTS) {
        let file = OpenOptions::new().create(true).append(true).open(file);
        let written = file.and_then(|mut file| writeln!(file, "{missing}\t{test}"));
        written.expect("the file of skipped tests can be written");
    }
}
