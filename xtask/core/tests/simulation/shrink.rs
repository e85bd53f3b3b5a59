//! A trace with a broken promise, made as short as it goes: what is kept as a case.
//!
//! Only steps are left out; none is changed. The same checker must still object, so that
//! another promise, broken by a world that makes no sense, does not take its place.

use xtask_core::record::RecordLine;

use crate::checkers::catch_panic;
use crate::trace;

/// The shortest part of a trace that was found to break the promise of this checker.
pub(crate) fn shrink(lines: &[RecordLine], checker: &str) -> Vec<RecordLine> {
    let breaks = |lines: &[RecordLine]| {
        let verdict = catch_panic(|| trace::replay(lines));
        matches!(verdict, Err(violation) if violation.checker == checker)
    };
    let mut kept = trace::events(lines);
    if matches!(kept.last(), Some(RecordLine::Check(_))) {
        // Whoever is not at rest may wait for a step that was left out.
        return kept;
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut size = kept.len() / 2;
    while size > 0 && breaks(&kept) {
        let mut at = 0;
        while at < kept.len() {
            let end = (at + size).min(kept.len());
            let fewer: Vec<RecordLine> = kept[..at].iter().chain(&kept[end..]).cloned().collect();
            if breaks(&fewer) {
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
