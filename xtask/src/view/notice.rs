//! What is said once about a plan that has no mistakes.
//!
//! Mistakes and warnings are problems and shown elsewhere.

use xtask_core::plan::ShellOverride;

/// One line for each variable whose value the shell gives.
pub(crate) fn overrides(notices: &[ShellOverride]) -> Vec<String> {
    let names = |notice: &ShellOverride| {
        let names: Vec<String> = notice.services.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    notices
        .iter()
        .map(|notice| format!("`{}` of {} comes from the shell", notice.variable, names(notice)))
        .collect()
}
