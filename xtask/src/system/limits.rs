//! Resource limits of this process.

/// Raises the limit of open files, because every run needs about six. Returns the old limit, which
/// children get back.
pub(crate) fn raise_open_files() -> Option<libc::rlimit> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    setrlimit(Resource::Nofile, raised).ok()?;
    let limit =
        |limit: Option<u64>| limit.map_or(libc::RLIM_INFINITY, |limit| limit as libc::rlim_t);
    Some(libc::rlimit { rlim_cur: limit(before.current), rlim_max: limit(before.maximum) })
}
