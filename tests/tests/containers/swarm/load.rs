//! Writers that rotate over the healthy replicas of `todo` and count the results.
//!
//! Like a load balancer, they try the next replica if a connection fails, because nothing was sent.
//! A request that was sent is not retried; without an answer it counts as failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use e2e::Api;
use serde_json::json;
use tokio::task::JoinHandle;

use super::engine::{Replica, Swarm, container_events, healthy};

/// A user, and the beginning of the names of the lists' owners.
pub(crate) const USER: &str = "swarm";

/// The number of concurrent writers.
pub(crate) const WRITERS: usize = 4;

/// The interval between two writes of one writer.
const PACE: Duration = Duration::from_millis(25);

/// The interval between two queries for healthy replicas.
const POLL: Duration = Duration::from_millis(250);

/// The timeout for one part of the load.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Why a request to a replica failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The connection failed, and nothing was sent.
    Unreachable,
    /// The connection ended without an answer.
    Cut,
    /// No answer arrived in time.
    Late,
    /// The answer had another status.
    Status(u16),
}

/// A failed request to one replica.
#[derive(Clone, Debug)]
struct Miss {
    cause: Cause,
    replica: String,
    at: SystemTime,
    /// Whether no other replica was tried after it.
    failed: bool,
}

/// The results of one part of the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) failed: BTreeMap<Cause, usize>,
}

impl Part {
    /// The number of failed writes.
    pub(crate) fn failures(&self) -> usize {
        self.failed.values().sum()
    }
}

#[derive(Default)]
struct Shared {
    replicas: Mutex<Vec<(Replica, Api)>>,
    answered: AtomicUsize,
    missed: Mutex<Vec<Miss>>,
    next: AtomicUsize,
    ended: AtomicBool,
}

/// The running writers.
pub(crate) struct Load {
    shared: Arc<Shared>,
    begun: SystemTime,
    polling: JoinHandle<()>,
    writers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts the writers.
    pub(crate) fn begin(swarm: &Swarm) -> Self {
        let shared = Arc::new(Shared::default());
        let polling = poll(shared.clone(), swarm.name().to_owned(), swarm.address());
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(shared.clone(), writer)));
        let writers = writers.collect();
        Self { shared, begun: SystemTime::now(), polling: tokio::spawn(polling), writers }
    }

    /// Waits until that many writes of the current part are answered.
    pub(crate) async fn await_answered(&self, count: usize) {
        let begin = Instant::now();
        let mut ticks = tokio::time::interval(PACE);
        while self.shared.answered.load(Ordering::SeqCst) < count {
            ticks.tick().await;
            assert!(begin.elapsed() < TIMEOUT, "{:?}", self.part("too slow"));
        }
    }

    /// Ends a part and prints its results.
    pub(crate) fn part(&self, name: &str) -> Part {
        let answered = self.shared.answered.swap(0, Ordering::SeqCst);
        let missed = std::mem::take(&mut *self.shared.missed.lock().unwrap());
        let mut part = Part::default();
        let mut lines: BTreeMap<Cause, Vec<String>> = BTreeMap::new();
        let events = container_events(self.begun);
        for miss in missed {
            if miss.failed {
                *part.failed.entry(miss.cause).or_default() += 1;
            }
            let since =
                events.iter().filter(|event| event.id.starts_with(&miss.replica)).map(|event| {
                    let at = |time: SystemTime| time.duration_since(self.begun).unwrap_or_default();
                    let passed = at(miss.at).as_secs_f64() - at(event.at).as_secs_f64();
                    format!("{passed:+.2} s after its {}", event.action)
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

    /// Stops the writers and returns the names of the acknowledged lists.
    pub(crate) async fn end(self) -> Vec<String> {
        self.shared.ended.store(true, Ordering::SeqCst);
        let mut acknowledged = Vec::new();
        for writer in self.writers {
            acknowledged.extend(writer.await.unwrap());
        }
        self.polling.await.unwrap();
        acknowledged
    }
}

/// Updates the list of healthy replicas.
async fn poll(shared: Arc<Shared>, stack: String, address: String) {
    let mut ticks = tokio::time::interval(POLL);
    while !shared.ended.load(Ordering::SeqCst) {
        ticks.tick().await;
        let stack = stack.clone();
        let replicas = tokio::task::spawn_blocking(move || healthy(&stack, "todo")).await.unwrap();
        let api = |replica: &Replica| Api::new(&format!("http://{address}:{}", replica.port));
        let replicas = replicas.into_iter().map(|replica| (replica.clone(), api(&replica)));
        *shared.replicas.lock().unwrap() = replicas.collect();
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
        let mut replicas = shared.replicas.lock().unwrap().clone();
        if replicas.is_empty() {
            continue;
        }
        let turn = shared.next.fetch_add(1, Ordering::SeqCst) % replicas.len();
        replicas.rotate_left(turn);
        let name = format!("{writer}-{number}");
        for (index, (replica, todo)) in replicas.iter().enumerate() {
            let Err(cause) = store(todo, &name).await else {
                acknowledged.push(name);
                shared.answered.fetch_add(1, Ordering::SeqCst);
                break;
            };
            let failed = cause != Cause::Unreachable || index + 1 == replicas.len();
            let miss = Miss { cause, replica: replica.id.clone(), at: SystemTime::now(), failed };
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
    // A user has at most 200 lists, so each hundred writes of a writer are another user's.
    let (owner, _) = name.split_at(name.len().saturating_sub(2).max(name.find('-').unwrap_or(0)));
    let request = todo.request("POST", &format!("/lists/{USER}-{owner}")).json(&body);
    match todo.try_send(request).await {
        Ok(answer) if answer.status == 201 => Ok(()),
        Ok(answer) => Err(Cause::Status(answer.status)),
        Err(error) if error.is_connect() => Err(Cause::Unreachable),
        Err(error) if error.is_timeout() => Err(Cause::Late),
        Err(_) => Err(Cause::Cut),
    }
}
