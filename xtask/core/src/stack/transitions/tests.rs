//! Holds the table in the header of `transitions.rs` against the transitions.

use alloc::format;
use alloc::vec;

use super::*;
use crate::stack::phase::RunOrigin;

const NOW: Duration = Duration::ZERO;

fn launched() -> Launched {
    Launched {
        kind: Kind::Service,
        origin: RunOrigin::Started,
        command: None,
        content: None,
        ports: Vec::new(),
        numbers: Vec::new(),
        expected: None,
    }
}

/// The rest that a stop of the table records, and that is in no other cell.
fn then() -> Rest {
    Rest::Backoff { until: NOW, reason: String::from("then") }
}

fn in_phase(column: &str) -> Lifecycle {
    let mut lifecycle = Lifecycle::default();
    let reason = String::new();
    let phase = match column {
        "idle" => Phase::Rest(Rest::Idle),
        "backoff" => Phase::Rest(Rest::Backoff { until: NOW, reason }),
        "stopped" => Phase::Rest(Rest::Stopped { reason }),
        "succeeded" => Phase::Rest(Rest::Succeeded),
        "failed" => Phase::Rest(Rest::Failed { failure: Failure::Start, reason }),
        running => {
            lifecycle.begin_run(1, launched(), NOW, NOW, 0, vec![]);
            match running {
                "starting" => {}
                "ready" => lifecycle.become_ready(None),
                "stopping" => lifecycle.begin_stop(NOW, None, then()),
                other => panic!("no phase `{other}`"),
            }
            return lifecycle;
        }
    };
    lifecycle.phase = phase;
    lifecycle
}

fn step(lifecycle: &mut Lifecycle, transition: &str) {
    match transition {
        "apply" => lifecycle.apply(Kind::Service),
        "apply_job" => lifecycle.apply(Kind::Job),
        "rest_unwanted" => lifecycle.rest_unwanted(),
        "skip" => lifecycle.skip(),
        "retry" => lifecycle.retry(),
        "request_replacement" => lifecycle.request_replacement(),
        "give_up" => lifecycle.give_up(Failure::Start, String::new()),
        "begin_run" => lifecycle.begin_run(1, launched(), NOW, NOW, 0, vec![]),
        "become_ready" => lifecycle.become_ready(None),
        "begin_stop" => lifecycle.begin_stop(NOW, None, then()),
        "leader_exited" => lifecycle.leader_exited(NOW, String::new(), then()),
        "resume_run" => lifecycle.resume_run(NOW, 0),
        "end_run" => lifecycle.end_run(then()),
        "gone" => lifecycle.gone(true),
        "gone_due" => lifecycle.gone(false),
        "take_over" => lifecycle.take_over(&mut in_phase("ready")),
        other => panic!("no transition `{other}`"),
    }
}

fn name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Rest(rest) if *rest == then() => "then",
        Phase::Rest(Rest::Idle) => "idle",
        Phase::Rest(Rest::Backoff { .. }) => "backoff",
        Phase::Rest(Rest::Stopped { .. }) => "stopped",
        Phase::Rest(Rest::Succeeded) => "succeeded",
        Phase::Rest(Rest::Failed { .. }) => "failed",
        Phase::Starting(_) => "starting",
        Phase::Ready(_) => "ready",
        Phase::Stopping(_) => "stopping",
    }
}

#[test]
fn transitions_follow_the_table_in_the_header() {
    let rows = include_str!("../transitions.rs").lines().filter_map(|line| {
        let row = line.strip_prefix("//! | ")?.strip_suffix(" |")?;
        Some(row.split(" | ").collect::<Vec<_>>())
    });
    let rows: Vec<_> = rows.collect();
    let (head, rows) = rows.split_first().unwrap();
    assert_eq!((head.len(), rows.len()), (10, 16));
    let mut wrong = Vec::new();
    for row in rows {
        let transition = row[1].trim_matches('`');
        for (column, expected) in head[2..].iter().zip(&row[2..]) {
            let expected: &str = if *expected == "-" { column } else { expected };
            let mut lifecycle = in_phase(column);
            step(&mut lifecycle, transition);
            let found = name(lifecycle.phase());
            if found != expected {
                wrong.push(format!("{transition} while {column}: {found}, not {expected}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
