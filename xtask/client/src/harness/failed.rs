//! Records which tests failed while they used a stack, and when, so that the tool can show the log
//! lines of that time.
//!
//! It does not record the reason.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The file in a stack's folder with one JSON line per [`FailedTest`].
pub const FAILED_TESTS: &str = "failed-tests.jsonl";

/// A failed test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTest {
    /// The test's name, as the runner shows it.
    pub test: String,
    /// When it got the stack, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// When it failed, in milliseconds since the Unix epoch.
    pub until_ms: u64,
}

/// Records that the calling test failed. An error is ignored: the test's own message is more
/// important.
pub(super) fn record(folder: &Path, since: SystemTime) {
    let failed =
        FailedTest { test: name(), from_ms: millis(since), until_ms: millis(SystemTime::now()) };
    let Ok(mut line) = serde_json::to_vec(&failed) else { return };
    line.push(b'\n');
    let file = File::options().create(true).append(true).open(folder.join(FAILED_TESTS));
    if let Ok(mut file) = file {
        file.write_all(&line).ok();
    }
}

/// The name of the calling test: nextest sets a variable, and `cargo test` names the thread.
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

    #[test]
    fn failed_test_is_recorded_with_name_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let since = SystemTime::now();
        record(folder.path(), since);
        let text = std::fs::read_to_string(folder.path().join(FAILED_TESTS)).unwrap();
        let failed: FailedTest = serde_json::from_str(text.trim()).unwrap();
        assert!(failed.test.contains("failed_test_is_recorded"), "{failed:?}");
        assert!(millis(since) <= failed.until_ms && failed.from_ms == millis(since));
    }
}
