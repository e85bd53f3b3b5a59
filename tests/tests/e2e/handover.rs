//! Replacements of `todo` while a client opens a connection for each of its requests.
//!
//! `HANDOVERS=100 cargo xtask test-e2e replacements_of_todo` replaces it more often, and the test
//! prints its figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::harness;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The number of replacements without `HANDOVERS`.
const HANDOVERS: usize = 4;

/// The time between two requests, if the machine can keep up.
const EVERY: Duration = Duration::from_millis(1);

/// The most requests at a time. With more, a busy machine keeps some waiting for the database
/// longer than `todo` lets them: then it answers 503, with or without a replacement.
const MOST_OPEN: usize = 50;

/// A request that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// What the client saw.
#[derive(Debug, Default)]
struct Figures {
    requests: usize,
    failed: Vec<String>,
    slowest: Duration,
}

impl Figures {
    fn add(&mut self, answered: Result<Duration, String>) {
        self.requests += 1;
        match answered {
            Ok(took) => self.slowest = self.slowest.max(took),
            Err(why) => self.failed.push(why),
        }
    }
}

/// A request on a connection of its own: how long it took, or why it failed.
async fn request(address: Arc<str>) -> Result<Duration, String> {
    let began = Instant::now();
    let exchange = async {
        let mut stream = TcpStream::connect(&*address).await?;
        let head = format!("GET /lists HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(LIMIT, exchange).await {
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 200 ") => Ok(began.elapsed()),
        Ok(Ok(answer)) => Err(format!("{:?}", String::from_utf8_lossy(&answer))),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {LIMIT:?}")),
    }
}

/// Sends requests until `done`.
async fn load(address: Arc<str>, done: Arc<AtomicBool>) -> Figures {
    let places = Arc::new(Semaphore::new(MOST_OPEN));
    let (mut figures, mut open) = (Figures::default(), JoinSet::new());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !done.load(Ordering::Relaxed) {
        ticks.tick().await;
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let address = Arc::clone(&address);
        open.spawn(async move {
            let answered = request(address).await;
            drop(place);
            answered
        });
        while let Some(answered) = open.try_join_next() {
            figures.add(answered.unwrap());
        }
    }
    for answered in open.join_all().await {
        figures.add(answered);
    }
    figures
}

#[tokio::test(flavor = "multi_thread")]
async fn replacements_of_todo_fail_no_request() {
    let handovers = std::env::var("HANDOVERS").ok().map(|text| text.parse().unwrap());
    let stack = harness::fresh().await;
    let todo = stack.service("todo");
    let url = todo.url().await.unwrap();
    let address: Arc<str> = url.trim_start_matches("http://").trim_end_matches('/').into();
    let first = todo.status().await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn(load(address, Arc::clone(&done)));
    let began = Instant::now();
    let count: usize = handovers.unwrap_or(HANDOVERS);
    for _ in 0..count {
        todo.restart().await.unwrap();
    }
    // The last replaced run drains while the client continues.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let took = began.elapsed();
    done.store(true, Ordering::Relaxed);
    let figures = client.await.unwrap();
    let last = todo.status().await.unwrap();
    println!(
        "{count} replacements in {took:.1?}: {} requests, {:.0} a second, {} failed, slowest {:?}",
        figures.requests,
        figures.requests as f64 / took.as_secs_f64(),
        figures.failed.len(),
        figures.slowest,
    );
    assert_eq!(last.run, first.run + u64::try_from(count).unwrap());
    assert_eq!((last.restarts, figures.failed), (first.restarts, Vec::new()));
    assert!(figures.requests > 100, "{} requests", figures.requests);
}
