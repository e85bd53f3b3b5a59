//! Standard error, written by a thread of its own: whoever reads it may be stuck, and Ctrl-C
//! is obeyed all the same.
//!
//! A writer waits until its text is out, so that nothing changes its place, but not longer
//! than [`PATIENCE`]; from then on text is kept until the reader goes on, and only so much of
//! it. Nobody is told when standard error is gone. A process that forks must not have written
//! before, since its child has no such thread.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a reader may take before nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many texts are kept for a reader that is stuck.
const MOST: usize = 1000;

struct Queue {
    texts: VecDeque<String>,
    /// Whether the thread runs.
    begun: bool,
    writing: bool,
    stuck: bool,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { texts: VecDeque::new(), begun: false, writing: false, stuck: false });

static CHANGED: Condvar = Condvar::new();

impl Queue {
    fn is_busy(&self) -> bool {
        self.writing || !self.texts.is_empty()
    }
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a text, colours taken out where nobody wants them.
pub(super) fn write(text: String) {
    let mut queue = queue();
    if !queue.begun {
        queue.begun = std::thread::Builder::new().spawn(write_for_ever).is_ok();
    }
    if !queue.begun {
        return print(&text);
    }
    if queue.texts.len() < MOST {
        queue.texts.push_back(text);
    }
    CHANGED.notify_all();
    if !queue.stuck {
        drop(wait(queue, PATIENCE));
    }
}

/// Waits until everything is written, or so long: the last thing that a process does.
pub(crate) fn drain(longest: Option<Duration>) {
    drop(wait(queue(), longest.unwrap_or(Duration::MAX)));
}

fn wait(queue: MutexGuard<'static, Queue>, longest: Duration) -> MutexGuard<'static, Queue> {
    let waited = CHANGED.wait_timeout_while(queue, longest, |queue| queue.is_busy());
    let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
    queue.stuck = queue.is_busy();
    queue
}

fn write_for_ever() {
    let mut queue = queue();
    loop {
        if let Some(text) = queue.texts.pop_front() {
            queue.writing = true;
            drop(queue);
            print(&text);
            queue = self::queue();
            queue.writing = false;
        } else {
            queue.stuck = false;
            CHANGED.notify_all();
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn print(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}
