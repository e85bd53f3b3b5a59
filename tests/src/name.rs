//! Unique names for users and lists, so that tests can run in parallel and in any order.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A name with this prefix that no other call returns, in any process. It needs no encoding in a
/// path.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{prefix}-{}-{:x}-{count}", std::process::id(), now.as_nanos())
}
