//! Reaps orphans: processes that services leave behind become children of the supervisor.
//!
//! Other code of this program waits for the children that it starts. A zombie is therefore reaped
//! only after [`PAUSE`]. Running orphans are killed when the stack ends.

use std::io;
use std::time::Duration;
use xtask_core::sorted::SortedSet;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::system::group::{reap, running_orphans, zombie_orphans};
use crate::system::mark::{Mark, Marks, mark_of};
use crate::system::sweep::is_engine_program;
use crate::system::task;

/// How long after the end of a child the first scan begins. Many services that stop together end
/// within it, and cost one scan.
const DELAY: Duration = Duration::from_millis(100);

/// How long other code has to reap a zombie.
const PAUSE: Duration = Duration::from_secs(1);

/// How often to scan for orphans when the stack ends.
const ROUNDS: u32 = 500;

const ROUND: Duration = Duration::from_millis(1);

/// Makes this process a child subreaper, and starts to reap orphans.
pub(crate) fn adopt() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut ended = signal(SignalKind::child())?;
    task::spawn(async move {
        while ended.recv().await.is_some() {
            tokio::time::sleep(DELAY).await;
            reap_until_none().await;
        }
    });
    Ok(())
}

/// Kills and reaps every orphan that carries a mark of the stack. The children of a killed orphan
/// become children of this process, so this repeats until there are none, at most [`ROUNDS`] times.
/// Returns whether all are gone, and no other orphan is left: one that changed its mark, which
/// guardian or sweeper kills. A system that does not list children reports no orphans.
pub(crate) fn end(marks: &Marks) -> bool {
    let mut ending = SortedSet::new();
    for _ in 0..ROUNDS {
        let marked = marked(marks);
        for pid in marked.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // An unreaped child, so the pid is not reused.
            let _ = kill_process(pid, Signal::KILL);
        }
        let found_none = marked.is_empty();
        ending.extend(marked);
        ending.retain(|pid| !reap(*pid));
        if found_none && ending.is_empty() {
            return running_orphans().all(is_engine_program);
        }
        std::thread::sleep(ROUND);
    }
    false
}

/// Running orphans that carry a mark, or may carry it.
fn marked(marks: &Marks) -> Vec<i32> {
    // A child of this process whose mark is unknown was left by a marked process.
    let is_marked = |found: Mark| marks.include(&found) || found == Mark::Unreadable;
    running_orphans().filter(|pid| is_marked(mark_of(*pid))).collect()
}

/// Reaps orphans until there are no zombies. A signal that arrives meanwhile starts it again.
async fn reap_until_none() {
    let mut before = SortedSet::new();
    loop {
        let mut now = zombie_orphans();
        for pid in now.intersection(&before) {
            reap(*pid);
        }
        now.retain(|pid| !before.contains(pid));
        if now.is_empty() {
            return;
        }
        before = now;
        tokio::time::sleep(PAUSE).await;
    }
}
