//! The effect on callers when a service is killed, restarted, or hangs.
//!
//! Each test takes the stack exclusively, because it would interrupt requests of other tests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{Api, harness};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::list::new_list;

/// The timeout for a killed service to recover.
const RECOVERY_TIME: Duration = Duration::from_secs(30);

/// The number of concurrent callers during a fault.
const CALLERS: usize = 8;

#[tokio::test]
async fn killed_dependency_recovers_and_dependent_answers() {
    let stack = harness::exclusive().await;
    let users = Api::of(&stack, "users").await;
    let users_before = stack.service("users").status().await.unwrap();
    let before = users.get("/users/aniket/lists").await.expect(200).text;
    let todo = stack.service("todo");
    let run = todo.status().await.unwrap().run;
    todo.kill().await.unwrap();
    // Until it recovers each answer is correct, or a 503; none hangs.
    let deadline = Instant::now() + RECOVERY_TIME;
    while todo.status().await.unwrap().run == run {
        assert!(Instant::now() < deadline, "`todo` did not restart");
        let answer = users.get("/users/aniket/lists").await;
        if answer.status == 200 {
            assert_eq!(answer.text, before);
        } else {
            assert_ne!(answer.header("retry-after"), "");
            answer.problem(503);
        }
    }
    todo.wait_ready_after(run).await.unwrap();
    assert_eq!(users.get("/users/aniket/lists").await.expect(200).text, before);
    let users_after = stack.service("users").status().await.unwrap();
    assert_eq!(users_after.pid, users_before.pid, "the dependent was not restarted");
}

#[tokio::test]
async fn paused_dependency_makes_only_its_calls_unavailable() {
    let stack = harness::exclusive().await;
    let users = Api::of(&stack, "users").await;
    let todo = stack.service("todo");
    let before = todo.status().await.unwrap();
    todo.pause().await.unwrap();
    let paused = todo.status().await.unwrap();
    assert!(paused.paused && paused.phase == before.phase, "{paused:?}");
    // Each answer is a 503, for any number of callers; none hangs.
    let asked = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let users = users.clone();
            tokio::spawn(async move { users.get("/users/aniket/lists").await })
        })
        .collect();
    for caller in callers {
        let answer = caller.await.unwrap();
        let wait: u32 = answer.header("retry-after").parse().unwrap();
        assert!(wait >= 1);
        answer.problem(503);
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    users.get("/users/aniket").await.expect(200);
    users.get("/healthz").await.expect(200);
    todo.resume().await.unwrap();
    let deadline = Instant::now() + RECOVERY_TIME;
    while users.get("/users/aniket/lists").await.status != 200 {
        assert!(Instant::now() < deadline, "`users` does not reach `todo` again");
        sleep(Duration::from_millis(20)).await;
    }
    let after = todo.status().await.unwrap();
    assert_eq!((after.pid, after.run, after.paused), (before.pid, before.run, false));
}

#[tokio::test]
async fn paused_service_can_be_restarted_and_killed() {
    let stack = harness::exclusive().await;
    let todo = stack.service("todo");
    todo.pause().await.unwrap();
    todo.restart().await.unwrap();
    Api::of(&stack, "todo").await.get("/readyz").await.expect(200);
    let run = todo.status().await.unwrap().run;
    todo.pause().await.unwrap();
    todo.kill().await.unwrap();
    assert!(!todo.wait_ready_after(run).await.unwrap().paused);
    Api::of(&stack, "todo").await.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn restart_under_load_loses_no_request() {
    let stack = harness::exclusive().await;
    let users = Api::of(&stack, "users").await;
    let list = new_list(&stack).await;
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (users, list, over) = (users.clone(), list.clone(), over.clone());
            tokio::spawn(async move {
                let mut stored = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    users.get("/users/aniket/lists").await.expect(200);
                    let title = format!("{caller}-{}", stored.len());
                    let made = list.todo.post(&list.items, &json!({"title": title})).await;
                    made.expect(201);
                    stored.push(title);
                }
                stored
            })
        })
        .collect();
    for _ in 0..3 {
        stack.service("todo").restart().await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let mut stored = BTreeSet::new();
    for caller in callers {
        stored.extend(caller.await.unwrap());
    }
    assert!(stored.len() >= CALLERS, "{stored:?}");
    assert_eq!(list.titles().await, stored);
}

#[tokio::test]
async fn killed_service_keeps_its_address_and_log() {
    let stack = harness::exclusive().await;
    let users = stack.service("users");
    let before = users.status().await.unwrap();
    users.kill().await.unwrap();
    let after = users.wait_ready_after(before.run).await.unwrap();
    assert_ne!(after.pid, before.pid);
    assert_eq!((&after.url, &after.ports), (&before.url, &before.ports));
    Api::of(&stack, "users").await.get("/users/luckas").await.expect(200);
    let lines = users.logs().lines().unwrap();
    for run in [before.run, after.run] {
        let of_run = |line: &String| line.split(' ').nth(1) == Some(&run.to_string());
        assert!(lines.iter().any(of_run), "run {run} in {lines:#?}");
    }
}
