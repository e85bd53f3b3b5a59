//! Reads the context of this process: what the services inherit that it starts.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use xtask_core::sorted::SortedMap;

use xtask_control::context::{Context, Limit, OsText};
use xtask_control::inherited::{is_cargo_variable, is_service_manager_variable};

use super::limits::original_open_files;
use super::mark::MARK;

/// Search paths of the dynamic loader that cargo extends for what it runs.
const LOADER_PATHS: [&str; 3] =
    ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// The resources that a process inherits limits for.
#[cfg(target_os = "linux")]
const RESOURCES: std::ops::Range<u32> = 0..16;
#[cfg(not(target_os = "linux"))]
const RESOURCES: std::ops::Range<u32> = 0..9;

/// The context of this process, without what cargo or an outer supervisor set for it.
pub(crate) fn of_this_process() -> Context {
    let program = std::env::current_exe().unwrap_or_default();
    Context {
        variables: variables(std::env::vars_os(), &program),
        umask: umask(),
        nice: rustix::process::getpriority_process(None).ok(),
        limits: RESOURCES.filter_map(limit).collect(),
    }
}

/// `all` without those that were set for `program`.
fn variables(
    all: impl IntoIterator<Item = (OsString, OsString)>,
    program: &Path,
) -> Vec<(OsText, OsText)> {
    let all: SortedMap<OsString, OsString> = all.into_iter().collect();
    let rustup = all.get(OsStr::new("RUSTUP_HOME")).map(PathBuf::from);
    let kept = all.into_iter().filter_map(|(name, value)| {
        if LOADER_PATHS.iter().any(|path| name == *path) {
            let value = without_cargo_folders(&value, program, rustup.as_deref())?;
            return Some((OsText(name), OsText(value)));
        }
        (!is_for_the_tool(&name)).then_some((OsText(name), OsText(value)))
    });
    kept.collect()
}

/// Whether a variable describes the process of the tool, so that a child would misunderstand it.
fn is_for_the_tool(name: &OsStr) -> bool {
    // A shell records in `PWD` and `OLDPWD` folders that the child does not start in.
    name.to_str().is_some_and(|name| {
        matches!(name, "PWD" | "OLDPWD" | MARK)
            || is_cargo_variable(name)
            || is_service_manager_variable(name)
    })
}

/// `value` without the folders that cargo and rustup add; none if no folder is left.
fn without_cargo_folders(value: &OsStr, program: &Path, rustup: Option<&Path>) -> Option<OsString> {
    let kept: Vec<PathBuf> = std::env::split_paths(value)
        .filter(|folder| {
            let is_below =
                |other: Option<&Path>| other.is_some_and(|path| folder.starts_with(path));
            let parts: Vec<&OsStr> = folder.components().map(|part| part.as_os_str()).collect();
            let of_toolchain = parts.iter().any(|part| *part == "rustlib")
                || parts.windows(2).any(|two| two[0] == ".rustup" && two[1] == "toolchains");
            !parts.is_empty() && !of_toolchain && !is_below(program.parent()) && !is_below(rustup)
        })
        .collect();
    if kept.is_empty() { None } else { std::env::join_paths(kept).ok() }
}

/// The file mode creation mask, which only `/proc` shows without changing it.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(mask.trim(), 8).ok()
}

#[allow(clippy::unnecessary_cast, reason = "the type of a resource differs between systems")]
fn limit(resource: u32) -> Option<Limit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes to a local.
    if unsafe { libc::getrlimit(resource as _, &raw mut limit) } != 0 {
        return None;
    }
    if resource == libc::RLIMIT_NOFILE as u32
        && let Some(original) = original_open_files()
    {
        limit = original;
    }
    Some(Limit { resource, soft: limit.rlim_cur as _, hard: limit.rlim_max as _ })
}

/// What a supervisor with this pid cannot give to its runs, although this context has it: names of
/// limits, and `nice`. Only capabilities let it raise a hard limit or lower its nice value.
pub(crate) fn beyond_reach(context: &Context, supervisor: u32) -> Vec<&'static str> {
    let [raises_limits, lowers_nice] = [CAP_SYS_RESOURCE, CAP_SYS_NICE]
        .map(|capability| capabilities(supervisor) >> capability & 1 == 1);
    let pid = i32::try_from(supervisor).ok().and_then(rustix::process::Pid::from_raw);
    let theirs = Context {
        nice: pid
            .filter(|_| !lowers_nice)
            .and_then(|pid| rustix::process::getpriority_process(Some(pid)).ok()),
        limits: pid.filter(|_| !raises_limits).map(limits_of).unwrap_or_default(),
        ..Context::default()
    };
    missing(context, &theirs)
}

const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_RESOURCE: u32 = 24;

/// The effective capabilities of a process; none where the system does not show them.
fn capabilities(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or_default()
}

/// What `theirs` lacks of `ours`.
fn missing(ours: &Context, theirs: &Context) -> Vec<&'static str> {
    let nice = ours.nice.zip(theirs.nice).filter(|(ours, theirs)| ours < theirs);
    let limits = ours.limits.iter().filter_map(|limit| {
        let other = theirs.limits.iter().find(|other| other.resource == limit.resource)?;
        let name = LIMITS.get(usize::try_from(limit.resource).ok()?).copied()?;
        (limit.hard > other.hard).then_some(name)
    });
    nice.map(|_| "nice").into_iter().chain(limits).collect()
}

/// The names of Linux' limits, by number.
const LIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

#[cfg(target_os = "linux")]
fn limits_of(pid: rustix::process::Pid) -> Vec<Limit> {
    let read = |resource: u32| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let (pid, none) = (pid.as_raw_nonzero().get(), std::ptr::null());
        // SAFETY: without a new limit the call only writes to a local.
        let read = unsafe { libc::prlimit(pid, resource as _, none, &raw mut limit) } == 0;
        read.then_some(Limit { resource, soft: limit.rlim_cur as _, hard: limit.rlim_max as _ })
    };
    RESOURCES.filter_map(read).collect()
}

#[cfg(not(target_os = "linux"))]
fn limits_of(_pid: rustix::process::Pid) -> Vec<Limit> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_limits_and_nice_values_are_named() {
        let context = |nice, hard| Context {
            nice: Some(nice),
            limits: vec![Limit { resource: 7, soft: 10, hard }],
            ..Context::default()
        };
        assert_eq!(missing(&context(0, 100), &context(5, 50)), ["nice", "RLIMIT_NOFILE"]);
        assert_eq!(missing(&context(5, 50), &context(0, 100)), [""; 0]);
        let own = i32::try_from(std::process::id()).unwrap();
        let own = limits_of(rustix::process::Pid::from_raw(own).unwrap());
        let same = |limit: &Limit| own.iter().any(|other| other.hard == limit.hard);
        assert!(of_this_process().limits.iter().all(same));
    }

    fn kept(pairs: &[(&str, &str)]) -> Vec<String> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let kept = variables(pairs, Path::new("/w/target/debug/tool")).into_iter();
        let text = |text: OsText| text.0.into_string().unwrap();
        kept.map(|(name, value)| format!("{}={}", text(name), text(value))).collect()
    }

    #[test]
    fn context_drops_variables_of_cargo_and_supervisors() {
        assert_eq!(
            kept(&[
                ("CARGO", "/c"),
                ("CARGO_PKG_NAME", "xtask"),
                ("CARGO_HOME", "/home/.cargo"),
                ("RUSTUP_TOOLCHAIN", "stable"),
                ("LISTEN_PID", "1"),
                ("NOTIFY_SOCKET", "/n"),
                ("XTASK_MARK", "outer"),
                ("HOME", "/home"),
                ("LISTEN_ADDR", "1"),
                ("XTASK_OWN", "1"),
            ]),
            [
                "CARGO_HOME=/home/.cargo",
                "HOME=/home",
                "LISTEN_ADDR=1",
                "RUSTUP_TOOLCHAIN=stable",
                "XTASK_OWN=1",
            ]
        );
    }

    #[test]
    fn loader_path_loses_only_cargo_folders() {
        let added =
            "/w/target/debug/deps:/w/target/debug:/r/lib/rustlib/x/lib:/h/.rustup/toolchains/x/lib";
        assert!(kept(&[("LD_LIBRARY_PATH", added)]).is_empty());
        let own = kept(&[("LD_LIBRARY_PATH", &format!("{added}:/opt/toolchains/lib"))]);
        assert_eq!(own, ["LD_LIBRARY_PATH=/opt/toolchains/lib"]);
    }

    #[test]
    fn context_has_umask_nice_and_limits() {
        let context = of_this_process();
        if cfg!(target_os = "linux") {
            assert!(context.umask.is_some());
        }
        assert!(context.nice.is_some());
        assert!(context.limits.iter().any(|limit| limit.soft <= limit.hard));
    }
}
