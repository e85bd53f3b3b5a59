//! Which tests failed while they held a stack, and when: for whoever looks for the lines
//! that services printed meanwhile.
//!
//! It does not know why they failed.

use std::fs::File;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Stack;

/// The file in a stack's folder: a line of JSON for each [`FailedTest`].
pub const FAILED_TESTS: &str = "failed-tests.jsonl";

/// A test that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTest {
    /// Its name, as the runner shows it.
    pub test: String,
    /// When it got the stack, in milliseconds since 1970 in UTC.
    pub from_ms: u64,
    /// When it failed, likewise.
    pub until_ms: u64,
}

/// Notes that the calling test fails. A note that cannot be written is missed by nobody
/// who has the test's own words.
pub(super) fn note(stack: &Stack, since: SystemTime) {
    let failed =
        FailedTest { test: name(), from_ms: millis(since), until_ms: millis(SystemTime::now()) };
    let Ok(mut line) = serde_json::to_vec(&failed) else { return };
    line.push(b'\n');
    let path = stack.paths().folder().join(FAILED_TESTS);
    if let Ok(mut file) = File::options().create(true).append(true).open(path) {
        file.write_all(&line).ok();
    }
}

/// A test runs in a thread of its name, or in a process of its own.
fn name() -> String {
    let thread = std::thread::current();
    let named = thread.name().filter(|name| *name != "main").map(str::to_owned);
    let given = std::env::var("NEXTEST_TEST_NAME").ok();
    given.or(named).unwrap_or_else(|| "a test".to_owned())
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StackPaths;

    #[test]
    fn a_test_that_fails_is_noted_with_its_name_and_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let stack = Stack::at(StackPaths::at(folder.path()));
        let since = SystemTime::now();
        note(&stack, since);
        let text = std::fs::read_to_string(folder.path().join(FAILED_TESTS)).unwrap();
        let failed: FailedTest = serde_json::from_str(text.trim()).unwrap();
        assert!(failed.test.contains("a_test_that_fails_is_noted"), "{failed:?}");
        assert!(millis(since) <= failed.until_ms && failed.from_ms == millis(since));
    }
}
