//! Writers that go from one healthy copy of `todo` to the next, and count.
//!
//! They try nothing twice: what fails is counted as failed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::Api;
use serde_json::json;
use tokio::task::JoinHandle;

use super::engine::healthy;

/// Whose lists they make.
pub(crate) const USER: &str = "swarm";

/// Writers at once.
const WRITERS: usize = 4;

/// Between two writes of one writer.
const PACE: Duration = Duration::from_millis(25);

/// Between two looks at which copies are healthy.
const LOOK: Duration = Duration::from_millis(250);

/// For a part of the load to be answered.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of the requests in one part of the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) answered: usize,
    pub(crate) failed: usize,
}

#[derive(Default)]
struct Shared {
    copies: Mutex<Vec<Api>>,
    answered: AtomicUsize,
    failed: AtomicUsize,
    next: AtomicUsize,
    ended: AtomicBool,
}

/// The writers.
pub(crate) struct Load {
    shared: Arc<Shared>,
    looking: JoinHandle<()>,
    writers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Writes from now on.
    pub(crate) fn begin(stack: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let looking = tokio::spawn(look(shared.clone(), stack.to_owned()));
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(shared.clone(), writer)));
        let writers = writers.collect();
        Self { shared, looking, writers }
    }

    /// Waits until that many writes of the present part are answered.
    pub(crate) async fn await_answered(&self, count: usize) {
        let begin = Instant::now();
        let mut ticks = tokio::time::interval(PACE);
        while self.shared.answered.load(Ordering::SeqCst) < count {
            ticks.tick().await;
            assert!(begin.elapsed() < PATIENCE, "{:?}", self.part("too slow"));
        }
    }

    /// Ends a part and says what came of it.
    pub(crate) fn part(&self, name: &str) -> Part {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::SeqCst);
        let (answered, failed) = (take(&self.shared.answered), take(&self.shared.failed));
        println!("{name}: {} requests, {failed} failed", answered + failed);
        Part { answered, failed }
    }

    /// Ends, and returns the names of the lists that were acknowledged.
    pub(crate) async fn end(self) -> Vec<String> {
        self.shared.ended.store(true, Ordering::SeqCst);
        let mut acknowledged = Vec::new();
        for writer in self.writers {
            acknowledged.extend(writer.await.unwrap());
        }
        self.looking.await.unwrap();
        acknowledged
    }
}

/// Keeps the list of healthy copies.
async fn look(shared: Arc<Shared>, stack: String) {
    let mut ticks = tokio::time::interval(LOOK);
    while !shared.ended.load(Ordering::SeqCst) {
        ticks.tick().await;
        let stack = stack.clone();
        let copies = tokio::task::spawn_blocking(move || healthy(&stack, "todo")).await.unwrap();
        let api = |port| Api::new(&format!("http://127.0.0.1:{port}"));
        *shared.copies.lock().unwrap() = copies.iter().map(|copy| api(copy.port)).collect();
    }
}

async fn write(shared: Arc<Shared>, writer: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut ticks = tokio::time::interval(PACE);
    for number in 0.. {
        ticks.tick().await;
        if shared.ended.load(Ordering::SeqCst) {
            break;
        }
        let turn = shared.next.fetch_add(1, Ordering::SeqCst);
        let copies = shared.copies.lock().unwrap().clone();
        let Some(todo) = copies.get(turn % copies.len().max(1)) else { continue };
        let name = format!("{writer}-{number}");
        let body = json!({"name": name, "items": ["kept"]});
        let request = todo.request("POST", &format!("/lists/{USER}")).json(&body);
        let made = todo.try_send(request).await.is_ok_and(|answer| answer.status == 201);
        if made {
            acknowledged.push(name);
        }
        let count = if made { &shared.answered } else { &shared.failed };
        count.fetch_add(1, Ordering::SeqCst);
    }
    acknowledged
}
