//! Edits under `up --watch`, while callers send 1,000 requests a second, each on a new connection.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::edit::{answer, edit, port, shop, wait_for};
use crate::Bench;
use crate::command;
use crate::row::{Limit, Row};
use crate::samples::Samples;

/// Together they send 1,000 requests a second.
const CALLERS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Requests {
    sent: usize,
    failed: usize,
    slowest: Duration,
    /// The first failure.
    error: Option<String>,
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let edits = u32::try_from(bench.size(100, 2))?;
    let (workspace, built) = (shop(bench)?, shop(bench)?);
    workspace.run(&["up", "-d", "--watch"])?;
    command::run(built.cargo().arg("build"))?;
    let port = port(&workspace)?;
    let mut row = Row::new(
        "watch",
        "from saving a file to the new code answering; ideal: `cargo build` of the edit",
    );
    row.limit = Some(Limit::More(100.0));
    let mut ideal = Samples::default();
    let (requests, over) = (Mutex::new(Requests::default()), AtomicBool::new(false));
    let edited: anyhow::Result<()> = std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| call(port, &requests, &over));
        }
        let mut all = || {
            for version in 1..=edits {
                edit(&workspace, version)?;
                let began = Instant::now();
                wait_for(port, version)?;
                row.ours.push_time(began.elapsed());
                // The watcher builds nothing now, so that both builds have the machine alone.
                edit(&built, version)?;
                ideal.push_time(command::run(built.cargo().arg("build"))?.took);
            }
            Ok(())
        };
        let edited = all();
        over.store(true, Ordering::Relaxed);
        edited
    });
    edited?;
    workspace.down()?;
    row.ideal = Some(ideal);
    let requests = requests.into_inner().unwrap_or_default();
    let mut failed = Row::new(
        "watch-failed",
        format!("failed requests over {edits} edits, of {}", requests.sent),
    );
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let count = requests.failed as f64;
    (failed.unit, failed.ours, failed.limit) = ("", Samples::of(count), Some(Limit::AtMost(0.0)));
    failed.notes.extend(requests.error.map(|error| format!("the first failure: {error}")));
    let mut slowest = Row::new("watch-slowest", "the slowest of these requests");
    slowest.ours.push_time(requests.slowest);
    Ok(vec![row, failed, slowest])
}

/// Sends requests until it is over.
fn call(port: u16, requests: &Mutex<Requests>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answered = answer(port);
        let took = began.elapsed();
        if let Ok(mut requests) = requests.lock() {
            requests.sent += 1;
            requests.slowest = requests.slowest.max(took);
            let error = match answered {
                Ok(answer) if answer.contains("version ") => None,
                Ok(answer) => Some(format!("the answer was `{answer}`")),
                Err(error) => Some(error.to_string()),
            };
            if error.is_some() {
                requests.failed += 1;
                requests.error = requests.error.take().or(error);
            }
        }
        std::thread::sleep(BETWEEN.saturating_sub(took));
    }
}
