//! Large graphs come up: a chain of 50, and 200 side by side.
//!
//! The times are printed but not checked, because other tests run in parallel.

use std::fmt::Write as _;
use std::time::Instant;

use xtask_test_support::{Fixture, PackageSpec, SERVICE};

/// Services of one package that run one program; each waits for what `on` says.
fn many(name: &str, count: usize, on: impl Fn(usize) -> Vec<usize>) -> Fixture {
    let mut metadata = String::new();
    for service in 0..count {
        let on: Vec<String> = on(service).iter().map(|on| format!("\"s{on}\"")).collect();
        let _ = writeln!(
            metadata,
            "[package.metadata.services.s{service}]\nport = 0\nsocket-activation = true\n\
             depends-on = [{}]\n",
            on.join(", ")
        );
    }
    let package = PackageSpec::new("all", "all-of-them").bin("instant", SERVICE);
    Fixture::new(name).package(package.metadata(&metadata)).write()
}

fn comes_up(fixture: &Fixture, count: usize, what: &str) {
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let down = Instant::now();
    fixture.xtask(&["down"]).ends_with(0);
    let down = down.elapsed();
    let up = Instant::now();
    fixture.xtask(&["up", "-d", "--no-build"]).ends_with(0);
    println!("{what}: up in {:?}, down in {down:?}", up.elapsed());
    let status = fixture.status();
    let ready = |service: &&serde_json::Value| service["phase"] == "ready";
    assert_eq!(status["services"].as_array().unwrap().iter().filter(ready).count(), count);
}

#[test]
fn a_chain_of_fifty_comes_up() {
    let fixture = many("chain", 50, |service| service.checked_sub(1).into_iter().collect());
    comes_up(&fixture, 50, "a chain of 50");
}

#[test]
fn two_hundred_parallel_services_start() {
    let fixture = many("wide", 200, |_| Vec::new());
    comes_up(&fixture, 200, "200 side by side");
}
