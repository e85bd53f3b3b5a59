//! Resource limits of this process.

use std::sync::OnceLock;

/// The limit of open files before this process raised it.
static OPEN_FILES: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises the limit of open files, because every run needs about six. Children get back the
/// [`original_open_files`].
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let limit =
        |limit: Option<u64>| limit.map_or(libc::RLIM_INFINITY, |limit| limit as libc::rlim_t);
    let original =
        libc::rlimit { rlim_cur: limit(before.current), rlim_max: limit(before.maximum) };
    OPEN_FILES.get_or_init(|| original);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// The limit of open files before it was raised; none if it was not.
pub(crate) fn original_open_files() -> Option<libc::rlimit> {
    OPEN_FILES.get().copied()
}
