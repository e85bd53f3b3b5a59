//! Runs the reducer in a simulated world with random workspaces, requests and faults, for thousands
//! of seeds. Checkers that do not know the world check each step.
//!
//! `XTASK_SEEDS=N` sets the number of seeds, and `XTASK_FIRST_SEED=N` the first one. `XTASK_SEED=N`
//! plays one and prints its trace. `XTASK_BREAK=objection` or `=panic` fails every seed on purpose,
//! to show what a failure leaves.

#![allow(clippy::unwrap_used)]

mod checkers;
mod coverage;
mod graph;
mod noise;
mod overlay;
mod play;
mod port_holders;
mod random;
mod shrink;
#[path = "../support/mod.rs"]
mod support;
mod trace;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use checkers::Verdict;
use coverage::Coverage;
use play::Played;
use xtask_core::record::RecordLine;

/// The number of seeds without `XTASK_SEEDS`.
const SEEDS: u64 = 2_000;

/// The least count of each event in each phase.
const LEAST: u64 = 3;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_seed_violates_a_property() {
    if let Some(seed) = number("XTASK_SEED") {
        let (verdict, lines) = traced(seed);
        println!("{}", trace::text(&lines));
        if let Err(violation) = verdict {
            panic!("seed {seed}: checker `{}`: {}", violation.checker, violation.message);
        }
        return;
    }
    let first = number("XTASK_FIRST_SEED").unwrap_or(0);
    let seeds = first + number("XTASK_SEEDS").unwrap_or(SEEDS);
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let first_failed = Mutex::new(None::<u64>);
    let covered = Mutex::new(Coverage::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut own = Coverage::default();
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let played = std::panic::catch_unwind(|| play::play(seed, None));
                    if let Ok(Played { verdict: Ok(()), coverage, .. }) = played {
                        own.add(&coverage);
                    } else {
                        failed.store(true, Ordering::Relaxed);
                        let mut first_failed = first_failed.lock().unwrap();
                        *first_failed = Some(first_failed.map_or(seed, |other| other.min(seed)));
                    }
                }
                covered.lock().unwrap().add(&own);
            });
        }
    });
    if let Some(seed) = *first_failed.lock().unwrap() {
        fail(seed);
    }
    let covered = covered.into_inner().unwrap();
    println!("{}", covered.table());
    if seeds - first >= SEEDS {
        let rare = covered.rarer_than(LEAST);
        assert!(rare.is_empty(), "rarely tried: {}", rare.join(", "));
    }
}

/// Plays a seed with a trace, which a panic keeps.
fn traced(seed: u64) -> (Verdict, Vec<RecordLine>) {
    let mut lines = Vec::new();
    let verdict = checkers::catch_panic(|| play::play(seed, Some(&mut lines)).verdict);
    (verdict, lines)
}

/// Plays a failed seed again with a trace, and panics with its violation.
fn fail(seed: u64) -> ! {
    let (verdict, lines) = traced(seed);
    let violation = verdict.expect_err("the same seed fails again");
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let write = |name: String, lines: &[RecordLine]| {
        let path = folder.join(name);
        std::fs::write(&path, trace::text(lines)).unwrap();
        path.display().to_string()
    };
    // A failure on purpose must not overwrite the trace of a real one.
    let seed_file = match std::env::var_os("XTASK_BREAK") {
        Some(_) => format!("broken-seed-{seed}"),
        None => format!("seed-{seed}"),
    };
    let whole = write(format!("{seed_file}.json"), &lines);
    let short = shrink::shrink(&lines, violation.checker);
    let short = write(format!("{seed_file}-short.json"), &short);
    panic!(
        "seed {seed}: checker `{}`: {}\n  the whole trace: cargo xtask replay {whole}\n  a case \
         for tests/traces: {short}\n  again: XTASK_SEED={seed} cargo test -p xtask-core --test \
         simulation",
        violation.checker, violation.message,
    );
}

#[test]
fn traces_of_past_failures_pass() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let mut traces: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    traces.sort();
    assert!(!traces.is_empty());
    for path in traces {
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(violation) = trace::replay(&trace::read(&text)) {
            let name = path.file_name().unwrap().display();
            panic!("trace {name}: checker `{}`: {}", violation.checker, violation.message);
        }
    }
}
