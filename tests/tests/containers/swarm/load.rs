//! Writers that go from one healthy copy of `todo` to the next, and count.
//!
//! They do what every balancer does: a connection that cannot be made is made with the next
//! copy, as nothing was sent yet. What was sent is sent once; without an answer it has failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use e2e::Api;
use serde_json::json;
use tokio::task::JoinHandle;

use super::engine::{Copy, Swarm, healthy, log_of_ends};

/// Whose lists they make.
pub(crate) const USER: &str = "swarm";

/// Writers at once.
pub(crate) const WRITERS: usize = 4;

/// Between two writes of one writer.
const PACE: Duration = Duration::from_millis(25);

/// Between two looks at which copies are healthy.
const LOOK: Duration = Duration::from_millis(250);

/// For a part of the load to be answered.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why a copy did not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// It did not take the connection, and nothing was sent.
    Unreachable,
    /// The connection ended without an answer.
    Cut,
    /// No answer came in time.
    Late,
    /// Another answer than the right one.
    Status(u16),
}

/// A request that a copy did not do.
#[derive(Clone, Debug)]
struct Miss {
    cause: Cause,
    copy: String,
    at: SystemTime,
    /// Whether nobody was asked after it.
    failed: bool,
}

/// What came of the requests in one part of the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) failed: BTreeMap<Cause, usize>,
}

impl Part {
    /// How many writes have failed.
    pub(crate) fn failures(&self) -> usize {
        self.failed.values().sum()
    }
}

#[derive(Default)]
struct Shared {
    copies: Mutex<Vec<(Copy, Api)>>,
    answered: AtomicUsize,
    missed: Mutex<Vec<Miss>>,
    next: AtomicUsize,
    ended: AtomicBool,
}

/// The writers.
pub(crate) struct Load {
    shared: Arc<Shared>,
    begun: SystemTime,
    looking: JoinHandle<()>,
    writers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Writes from now on.
    pub(crate) fn begin(swarm: &Swarm) -> Self {
        let shared = Arc::new(Shared::default());
        let looking = look(shared.clone(), swarm.name().to_owned(), swarm.address());
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(shared.clone(), writer)));
        let writers = writers.collect();
        Self { shared, begun: SystemTime::now(), looking: tokio::spawn(looking), writers }
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
        let answered = self.shared.answered.swap(0, Ordering::SeqCst);
        let missed = std::mem::take(&mut *self.shared.missed.lock().unwrap());
        let mut part = Part::default();
        let mut lines: BTreeMap<Cause, Vec<String>> = BTreeMap::new();
        let ends = log_of_ends(self.begun);
        for miss in missed {
            if miss.failed {
                *part.failed.entry(miss.cause).or_default() += 1;
            }
            let since = ends.iter().filter(|end| end.id.starts_with(&miss.copy)).map(|end| {
                let at = |time: SystemTime| time.duration_since(self.begun).unwrap_or_default();
                let passed = at(miss.at).as_secs_f64() - at(end.at).as_secs_f64();
                format!("{passed:+.2} s from its {}", end.what)
            });
            let since = since.collect::<Vec<_>>().join(", ");
            lines.entry(miss.cause).or_default().push(since);
        }
        println!("{name}: {} requests, {} failed", answered + part.failures(), part.failures());
        for (cause, since) in lines {
            let (first, last) = (since.first().unwrap(), since.last().unwrap());
            println!("  {cause:?} {} times, first {first}; last {last}", since.len());
        }
        part
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
async fn look(shared: Arc<Shared>, stack: String, address: String) {
    let mut ticks = tokio::time::interval(LOOK);
    while !shared.ended.load(Ordering::SeqCst) {
        ticks.tick().await;
        let stack = stack.clone();
        let copies = tokio::task::spawn_blocking(move || healthy(&stack, "todo")).await.unwrap();
        let api = |copy: &Copy| Api::new(&format!("http://{address}:{}", copy.port));
        let copies = copies.into_iter().map(|copy| (copy.clone(), api(&copy))).collect();
        *shared.copies.lock().unwrap() = copies;
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
        let mut copies = shared.copies.lock().unwrap().clone();
        if copies.is_empty() {
            continue;
        }
        let turn = shared.next.fetch_add(1, Ordering::SeqCst) % copies.len();
        copies.rotate_left(turn);
        let name = format!("{writer}-{number}");
        for (index, (copy, todo)) in copies.iter().enumerate() {
            let Err(cause) = store(todo, &name).await else {
                acknowledged.push(name);
                shared.answered.fetch_add(1, Ordering::SeqCst);
                break;
            };
            let failed = cause != Cause::Unreachable || index + 1 == copies.len();
            let miss = Miss { cause, copy: copy.id.clone(), at: SystemTime::now(), failed };
            shared.missed.lock().unwrap().push(miss);
            if failed {
                break;
            }
        }
    }
    acknowledged
}

async fn store(todo: &Api, name: &str) -> Result<(), Cause> {
    let body = json!({"name": name, "items": ["kept"]});
    let request = todo.request("POST", &format!("/lists/{USER}")).json(&body);
    match todo.try_send(request).await {
        Ok(answer) if answer.status == 201 => Ok(()),
        Ok(answer) => Err(Cause::Status(answer.status)),
        Err(error) if error.is_connect() => Err(Cause::Unreachable),
        Err(error) if error.is_timeout() => Err(Cause::Late),
        Err(_) => Err(Cause::Cut),
    }
}
