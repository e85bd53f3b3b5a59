//! Reads memory, processor time, descriptors and threads of processes from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What some processes use together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Proportional set size in megabytes: a page that processes share counts once in their sum.
    pub(crate) pss_mb: f64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

/// The usage of these processes. A process that has ended adds nothing.
pub(crate) fn usage(pids: &[i32]) -> Usage {
    let mut usage = Usage::default();
    for pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kb = pss.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
        usage.pss_mb += kb.unwrap_or(0.0) / 1024.0;
        let entries = |folder: &str| {
            fs::read_dir(format!("/proc/{pid}/{folder}")).into_iter().flatten().flatten()
        };
        usage.descriptors += entries("fd").count();
        usage.threads += entries("task").count();
    }
    usage
}

/// Milliseconds on a processor of each thread of these processes. The difference of two is that of
/// the threads in both: a thread that has ended meanwhile was idle.
pub(crate) fn cpu_ms(pids: &[i32]) -> BTreeMap<String, f64> {
    let tasks = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")));
    let times = tasks.flatten().flatten().filter_map(|thread| {
        // Nanoseconds on a processor; `stat` counts hundredths of a second.
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let on_cpu = times.split(' ').next()?.parse::<f64>().ok()?;
        Some((thread.file_name().to_string_lossy().into_owned(), on_cpu / 1e6))
    });
    times.collect()
}

/// All processes that execute this program.
pub(crate) fn of_program(program: &Path) -> Vec<i32> {
    all()
        .filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program))
        .collect()
}

/// All processes whose command line names this folder in an argument of its own.
pub(crate) fn naming(folder: &Path) -> Vec<i32> {
    let folder = folder.as_os_str().as_encoded_bytes();
    let names = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|word| word.starts_with(folder))
    };
    all().filter(names).collect()
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
