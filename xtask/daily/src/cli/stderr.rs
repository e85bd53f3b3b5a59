//! Standard error, written by a thread, so that Ctrl-C works while the reader is stuck.
//!
//! A writer waits until its text is written, for at most [`PATIENCE`], so that the order of lines
//! is kept. After that the queue keeps [`MOST`] texts until the reader continues. Write errors are
//! ignored. A process that forks must not write before, because its child has no such thread.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::screen;

/// How long a writer waits for the reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many texts the queue keeps for a stuck reader; later ones are dropped.
const MOST: usize = 1000;

struct Queue {
    texts: VecDeque<String>,
    /// Whether the thread runs.
    started: bool,
    writing: bool,
    stuck: bool,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { texts: VecDeque::new(), started: false, writing: false, stuck: false });

static CHANGED: Condvar = Condvar::new();

impl Queue {
    fn is_busy(&self) -> bool {
        self.writing || !self.texts.is_empty()
    }

    /// Starts the thread, and returns whether it runs.
    fn starts(&mut self) -> bool {
        if !self.started {
            self.started = std::thread::Builder::new().spawn(write_queue).is_ok();
        }
        self.started
    }
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a text. The stream removes colours that are turned off.
pub(super) fn write(text: String) {
    let mut queue = queue();
    if !queue.starts() {
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

/// Makes the thread draw the live lines again, and returns at once.
pub(super) fn redraw() {
    let mut queue = queue();
    // Every text draws them too.
    if queue.starts() && queue.texts.is_empty() {
        queue.texts.push_back(String::new());
        CHANGED.notify_all();
    }
}

/// Waits until everything is written, or for `longest`. Call it last in the process.
pub(crate) fn drain(longest: Option<Duration>) {
    drop(wait(queue(), longest.unwrap_or(Duration::MAX)));
}

fn wait(queue: MutexGuard<'static, Queue>, longest: Duration) -> MutexGuard<'static, Queue> {
    let waited = CHANGED.wait_timeout_while(queue, longest, |queue| queue.is_busy());
    let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
    queue.stuck = queue.is_busy();
    queue
}

fn write_queue() {
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
    screen::above(|| {
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
    });
}
