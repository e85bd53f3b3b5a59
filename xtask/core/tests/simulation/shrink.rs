//! Shortens a trace with a violation, as a case for `tests/traces`.
//!
//! It removes steps and changes none. The same checker must still fail: without an answer of the
//! world another checker may fail.

use xtask_core::record::RecordLine;

use crate::checkers::catch_panic;
use crate::trace;

/// The shortest part of the trace, as far as tried, in which this checker fails.
pub(crate) fn shrink(lines: &[RecordLine], checker: &str) -> Vec<RecordLine> {
    let fails = |lines: &[RecordLine]| {
        let verdict = catch_panic(|| trace::replay(lines));
        matches!(verdict, Err(violation) if violation.checker == checker)
    };
    let mut kept = trace::events(lines);
    if matches!(kept.last(), Some(RecordLine::Check(_))) {
        // A service that is not at rest may wait for a removed step.
        return kept;
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut size = kept.len() / 2;
    while size > 0 && fails(&kept) {
        let mut at = 0;
        while at < kept.len() {
            let end = (at + size).min(kept.len());
            let fewer: Vec<RecordLine> = kept[..at].iter().chain(&kept[end..]).cloned().collect();
            if fails(&fewer) {
                kept = fewer;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    std::panic::set_hook(hook);
    kept
}
