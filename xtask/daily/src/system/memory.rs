//! The memory that the processes of runs use.
//!
//! A run is its first process, all its descendants, and what remained in its process group or its
//! session. Memory that several processes share counts in parts (PSS). For processes of another
//! user, as in containers, the kernel reports only what is resident (RSS).

use xtask_core::sorted::{SortedMap, SortedSet};

use xtask_control::process_stat::ProcessStat;

use super::proc;

/// The memory of each run in bytes, by the pid of its first process. A run without a process is
/// missing.
pub(crate) fn of_runs(leaders: &[i32]) -> SortedMap<i32, u64> {
    if leaders.is_empty() {
        return SortedMap::new();
    }
    let all: Vec<(i32, ProcessStat)> =
        proc::all().filter_map(|pid| Some((pid, proc::running_stat(pid)?))).collect();
    let mut children: SortedMap<i32, Vec<i32>> = SortedMap::new();
    for (pid, stat) in &all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let of_run = |leader: &i32| {
        let in_group = |stat: &ProcessStat| [stat.group, stat.session].contains(leader);
        let mut members: SortedSet<i32> = SortedSet::new();
        let mut open: Vec<i32> =
            all.iter().filter(|(pid, stat)| pid == leader || in_group(stat)).map(|p| p.0).collect();
        while let Some(pid) = open.pop() {
            if members.insert(pid) {
                open.extend(children.get(&pid).into_iter().flatten());
            }
        }
        let bytes = members.iter().filter_map(|pid| of_process(*pid)).sum::<u64>();
        (bytes > 0).then_some((*leader, bytes))
    };
    leaders.iter().filter_map(of_run).collect()
}

fn of_process(pid: i32) -> Option<u64> {
    proportional(pid).or_else(|| resident(pid))
}

fn proportional(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(proc::file(pid, "smaps_rollup")).ok()?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = kilobytes.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn resident(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(proc::file(pid, "statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: the call takes a number and has no side effect.
    let page_bytes = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    Some(pages * page_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_run_includes_its_children() {
        let own = std::process::id().cast_signed();
        let alone = of_process(own).unwrap();
        assert!(alone > 100 * 1024, "{alone}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        let both = of_runs(&[own, pid]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(both[&own] >= both[&pid] && both[&pid] > 0, "{both:?}");
        assert_eq!(of_runs(&[i32::MAX]), SortedMap::new());
    }
}
