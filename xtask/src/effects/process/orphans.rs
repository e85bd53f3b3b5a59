//! Processes that services leave behind become children of the supervisor, and are
//! reaped by it.
//!
//! Children that other parts of this program started are theirs to wait for: a zombie
//! is only taken when it has been left alone for [`PAUSE`]. Orphans that still run are
//! left alone until the stack ends.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::system::group::{reap, running_orphans, zombie_orphans};
use crate::system::sweep::{Owner, owner};

/// How long a zombie that nobody in this program waits for is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// How often, and how far apart, orphans are looked for when the stack ends.
const ROUNDS: u32 = 500;

/// See [`ROUNDS`].
const ROUND: Duration = Duration::from_millis(1);

/// Makes this process the parent of orphans, and starts to reap them.
///
/// # Errors
/// When the system does not let it, or signals cannot be received.
pub(crate) fn adopt() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut ended = signal(SignalKind::child())?;
    tokio::spawn(async move {
        while ended.recv().await.is_some() {
            reap_until_none().await;
        }
    });
    Ok(())
}

/// Ends every orphan that carries our mark. What an orphan had started becomes our
/// child when it dies, so this goes on until there are none, or for [`ROUNDS`]. Where
/// the system does not tell whose children are whose, it finds none. Whether all are gone.
pub(crate) fn end(mark: &str) -> bool {
    let mut ending = BTreeSet::new();
    for _ in 0..ROUNDS {
        let marked = marked(mark);
        for pid in marked.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // It is our child and not reaped, so the number cannot be anybody else's.
            let _ = kill_process(pid, Signal::KILL);
        }
        let found_none = marked.is_empty();
        ending.extend(marked);
        ending.retain(|pid| !reap(*pid));
        if found_none && ending.is_empty() {
            return true;
        }
        std::thread::sleep(ROUND);
    }
    false
}

/// Our children that run, that we did not start, and that have our mark, or may have it.
fn marked(mark: &str) -> Vec<i32> {
    let is_marked = |pid: &i32| match owner(*pid, mark) {
        // Whoever is our child was left by one of ours.
        Owner::Mark | Owner::Unsure => true,
        Owner::Other => false,
    };
    running_orphans().into_iter().filter(is_marked).collect()
}

/// Looks again and again while there are zombies to take; a signal that comes
/// meanwhile makes another round.
async fn reap_until_none() {
    let mut before = BTreeSet::new();
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
