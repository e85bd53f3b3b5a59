//! Reads `/proc`: which processes run, how they are related, and what each has open.
//!
//! Every answer is a snapshot. A process that has ended, or that belongs to another user, reports
//! nothing; neither does a system without `/proc`.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use rustix::time::{ClockId, clock_gettime};
use xtask_control::process_stat::ProcessStat;

pub(crate) fn all() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

pub(crate) fn running_stat(pid: i32) -> Option<ProcessStat> {
    ProcessStat::of(pid).filter(|stat| !stat.is_zombie())
}

pub(crate) fn file(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// The parent of a process; 0 if the parent is outside of this pid namespace.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    Some(ProcessStat::of(pid)?.parent)
}

/// A process and its ancestors, nearest first.
pub(crate) fn ancestry(pid: i32) -> Vec<i32> {
    let mut line = vec![pid];
    while let Some(parent) = line.last().and_then(|pid| parent(*pid))
        && parent > 0
        && !line.contains(&parent)
    {
        line.push(parent);
    }
    line
}

pub(crate) fn own_ancestry() -> Vec<i32> {
    ancestry(std::process::id().cast_signed())
}

/// How often the children of a process are read at most.
const ATTEMPTS: usize = 5;

/// All children of this process.
pub(crate) fn own_children() -> Vec<i32> {
    let own = std::process::id().cast_signed();
    match listed_children(own) {
        (children, true) => children,
        _ => all().filter(|child| parent(*child) == Some(own)).collect(),
    }
}

/// The children of a process. Where the kernel does not list them, this scans all processes.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    match listed_children(pid) {
        (_, false) if !Path::new("/proc/thread-self/children").exists() => {
            all().filter(|child| parent(*child) == Some(pid)).collect()
        }
        (children, _) => children,
    }
}

/// The children that the kernel lists, and whether the list is complete.
///
/// A child that is reaped during a read may hide another one, and so may a thread that ends. Both
/// make the next read differ, so two equal reads are complete.
fn listed_children(pid: i32) -> (Vec<i32>, bool) {
    let (mut found, mut last) = (Vec::new(), None);
    for _ in 0..ATTEMPTS {
        let read = read_children(pid);
        match read {
            Some(children) if last.as_ref() == Some(&children) => return (children, true),
            Some(ref children) => found.extend(children),
            None => {}
        }
        last = read;
    }
    found.sort_unstable();
    found.dedup();
    (found, false)
}

/// One read of the children; none if a thread ends during it, because another thread inherits its
/// children.
fn read_children(pid: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir(file(pid, "task")).ok()?.flatten() {
        let text = std::fs::read_to_string(thread.path().join("children")).ok()?;
        children.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<i32>().ok()));
    }
    Some(children)
}

pub(crate) struct Executable {
    pub(crate) path: String,
    /// Whether the file at `path` was deleted or replaced.
    pub(crate) deleted: bool,
}

/// The program of a process; none for kernel threads and zombies.
pub(crate) fn executable(pid: i32) -> Option<Executable> {
    let path = std::fs::read_link(file(pid, "exe")).ok()?;
    let path = path.to_string_lossy();
    Some(match path.strip_suffix(" (deleted)") {
        Some(path) => Executable { path: path.to_owned(), deleted: true },
        None => Executable { path: path.into_owned(), deleted: false },
    })
}

/// The short name of a process; empty if it has ended.
pub(crate) fn name(pid: i32) -> String {
    let name = std::fs::read(file(pid, "comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}

/// The user who started a process.
pub(crate) fn user(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(file(pid, "status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().next()?.parse().ok()
}

/// Whether this user started a process. Also a setuid program belongs to the user who started it.
pub(crate) fn is_own(pid: i32) -> bool {
    user(pid) == Some(geteuid().as_raw())
}

/// The command line of a process on one line.
pub(crate) fn command_line(pid: i32) -> String {
    one_line(&arguments(pid).join(" "))
}

/// A text of another program for a message: a line break in it must not begin a line there.
pub(crate) fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

/// The command line of a process, its own name first.
pub(crate) fn arguments(pid: i32) -> Vec<String> {
    let line = std::fs::read(file(pid, "cmdline")).unwrap_or_default();
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    if line.is_empty() {
        return Vec::new();
    }
    let words = line.split(|&byte| byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The environment that a process was started with, one `NAME=VALUE` at a time.
pub(crate) fn environment(pid: i32) -> Option<impl Iterator<Item = Vec<u8>>> {
    let file = File::open(file(pid, "environ")).ok()?;
    Some(BufReader::with_capacity(4096, file).split(0).map_while(Result::ok))
}

/// The value in `NAME=VALUE` if the name is `name`.
pub(crate) fn value_of<'a>(variable: &'a [u8], name: &str) -> Option<&'a [u8]> {
    variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Whether a process is in the same pid namespace as this one; a process in a container is not.
pub(crate) fn shares_pid_namespace(pid: i32) -> bool {
    let namespace = |path: &Path| std::fs::read_link(path).ok();
    let own = namespace(Path::new("/proc/self/ns/pid"));
    own.is_some() && namespace(&file(pid, "ns/pid")) == own
}

pub(crate) fn age(pid: i32) -> Option<Duration> {
    let ticks = ProcessStat::of(pid)?.started_ticks;
    // SAFETY: the call takes a number and has no side effect.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    let started = Duration::from_millis(ticks * 1000 / per_second.max(1));
    let now = clock_gettime(ClockId::Boottime);
    Some(Duration::from_secs(u64::try_from(now.tv_sec).ok()?).saturating_sub(started))
}

/// The inodes of the sockets that a process has open.
pub(crate) fn socket_inodes(pid: i32) -> impl Iterator<Item = u64> {
    socket_inodes_within(pid, usize::MAX)
}

/// The inodes of the sockets among this many descriptors of a process.
pub(crate) fn socket_inodes_within(pid: i32, descriptors: usize) -> impl Iterator<Item = u64> {
    let links = std::fs::read_dir(file(pid, "fd")).into_iter().flatten().flatten();
    links.take(descriptors).filter_map(|link| inode_of(&std::fs::read_link(link.path()).ok()?))
}

/// Whether the system denies this user a look at the descriptors of a process.
pub(crate) fn hides_descriptors(pid: i32) -> bool {
    let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match std::fs::read_dir(file(pid, "fd")) {
        // The system may allow to list a folder of the same user and deny to read its links.
        Ok(links) => links.flatten().any(|link| std::fs::read_link(link.path()).is_err_and(denied)),
        Err(error) => denied(error),
    }
}

/// The number in `socket:[12345]`.
fn inode_of(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestry_starts_here_and_ends_at_init() {
        let line = own_ancestry();
        assert_eq!(line[0], std::process::id().cast_signed());
        assert!(line.len() > 1, "{line:?}");
        assert_eq!(parent(line[line.len() - 1]), Some(0), "{line:?}");
    }

    #[test]
    fn children_lists_a_child_until_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let (own, pid) = (std::process::id().cast_signed(), child.id().cast_signed());
        let listed = children(own).contains(&pid);
        let parent = parent(pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed);
        assert_eq!(parent, Some(own));
        assert!(!children(own).contains(&pid));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn child_is_listed_while_its_siblings_are_reaped() {
        let start = |time: &str| std::process::Command::new("sleep").arg(time).spawn().unwrap();
        for round in 0..20 {
            let siblings: Vec<_> = (0..40).map(|_| start("0")).collect();
            let mut child = start("600");
            let (own, pid) = (std::process::id().cast_signed(), child.id().cast_signed());
            let reaper = std::thread::spawn(|| {
                for mut sibling in siblings {
                    sibling.wait().unwrap();
                }
            });
            let mut looks = Vec::new();
            while !reaper.is_finished() {
                looks.push(children(own).contains(&pid) && own_children().contains(&pid));
            }
            reaper.join().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            let missed = looks.iter().filter(|listed| !**listed).count();
            assert_eq!(missed, 0, "round {round}: of {} looks", looks.len());
        }
    }
}
