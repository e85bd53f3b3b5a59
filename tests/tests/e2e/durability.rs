//! Acknowledged writes survive kills of the service and of the database, and services survive an
//! outage of the database.
//!
//! The database is a separate process only in a stack with PostgreSQL.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::{Answer, Api, database_server, harness};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::list::{List, new_list};

/// The number of acknowledged writes.
const WRITES: usize = 1000;

/// The number of kills during the writes, of each victim in turn.
const KILLS: usize = 4;

/// The number of concurrent writers.
const WRITERS: usize = 8;

/// The timeout for writes, and for a killed service to recover.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn acknowledged_writes_survive_kills_of_service_and_database() {
    let stack = harness::exclusive().await;
    let list = new_list(&stack).await;
    let count = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(list.clone(), writer, count.clone())))
        .collect();
    let victims: Vec<_> = iter::once("todo").chain(database_server(&stack).await).collect();
    for (kill, victim) in victims.iter().copied().cycle().take(KILLS).enumerate() {
        await_writes(&count, (kill + 1) * WRITES / (KILLS + 1)).await;
        let service = stack.service(victim);
        let run = service.status().await.unwrap().run;
        service.kill().await.unwrap();
        service.wait_ready_after(run).await.unwrap();
    }
    await_writes(&count, WRITES).await;
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    await_ready(&list.todo).await;
    let kept = list.titles().await;
    println!("{} writes acknowledged, {} found", acknowledged.len(), kept.len());
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", acknowledged.len());
    assert!(acknowledged.len() >= WRITES);
}

#[tokio::test]
async fn repeated_creation_survives_a_kill() {
    let stack = harness::exclusive().await;
    let list = new_list(&stack).await;
    let create = async || {
        let request = list.todo.request("POST", &list.items).header("idempotency-key", "k");
        list.todo.send(request.json(&json!({"title": "once"}))).await.expect(201).text
    };
    let first = create().await;
    let service = stack.service("todo");
    let run = service.status().await.unwrap().run;
    service.kill().await.unwrap();
    service.wait_ready_after(run).await.unwrap();
    assert_eq!(create().await, first);
    assert_eq!(list.titles().await, BTreeSet::from(["once".to_owned()]));
}

/// Writes items until all writers together have written enough. Returns the titles of the
/// acknowledged ones.
async fn write(list: List, writer: usize, count: Arc<AtomicUsize>) -> Vec<String> {
    let mut stored = Vec::new();
    for number in 0.. {
        if count.load(Ordering::Relaxed) >= WRITES {
            break;
        }
        let title = format!("{writer}-{number}");
        let request = list.todo.request("POST", &list.items).json(&json!({"title": title}));
        // A write that a kill interrupted may be stored or not.
        match list.todo.try_send(request).await {
            Ok(answer) if answer.status == 503 => assert_unavailable(answer),
            Ok(answer) => {
                answer.expect(201);
                stored.push(title);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
    }
    stored
}

#[tokio::test]
async fn services_survive_a_killed_database_and_reconnect() {
    let stack = harness::exclusive().await;
    let Some(server) = database_server(&stack).await else {
        harness::skipped("a database server in the stack");
        return;
    };
    let (todo, users) = (Api::of(&stack, "todo").await, Api::of(&stack, "users").await);
    let before = users.get("/users/aniket/lists").await.expect(200).text;
    let pids = async || {
        let snapshot = stack.status().await.unwrap();
        ["todo", "users"].map(|name| snapshot.service(name).unwrap().pid)
    };
    let pids_before = pids().await;
    let server = stack.service(server);
    let run = server.status().await.unwrap().run;
    server.kill().await.unwrap();
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let (ready, lists) = tokio::join!(todo.get("/readyz"), users.get("/users/aniket/lists"));
        if ready.status == 200 && lists.status == 200 {
            assert_eq!(lists.text, before);
            // An answer from before the kill does not count.
            if server.status().await.unwrap().run > run {
                break;
            }
        }
        for answer in [ready, lists] {
            if answer.status != 200 {
                assert_unavailable(answer);
            }
        }
        todo.get("/healthz").await.expect(200);
        assert!(Instant::now() < deadline, "the services do not reconnect to the database");
    }
    server.wait_ready_after(run).await.unwrap();
    assert_eq!(pids().await, pids_before);
}

/// Asserts status 503 with `Retry-After`.
fn assert_unavailable(answer: Answer) {
    assert_ne!(answer.header("retry-after"), "");
    answer.problem(503);
}

async fn await_writes(count: &AtomicUsize, enough: usize) {
    let deadline = Instant::now() + TIMEOUT;
    while count.load(Ordering::Relaxed) < enough {
        assert!(Instant::now() < deadline, "writes make no progress");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a service is ready.
async fn await_ready(api: &Api) {
    let deadline = Instant::now() + TIMEOUT;
    while api.get("/readyz").await.status != 200 {
        assert!(Instant::now() < deadline, "the service is not ready");
    }
}
