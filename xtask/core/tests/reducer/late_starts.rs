//! Starts that a fault delays: in a drawn order, or after `--slow`.

use std::collections::BTreeSet;
use std::time::Duration;

use xtask_core::plan::{Faults, Probe, Service, StartOrder};
use xtask_core::snapshot::{Failure, Phase, State};
use xtask_core::stack::{Event, Exit};
use xtask_core::terms::Name;

use crate::scenario::Scenario;
use crate::support::{self, START, With, service};

fn apply(services: Vec<Service>, faults: Faults) -> Scenario {
    let mut s = Scenario::of([]);
    let plan = xtask_core::plan::Plan { faults, ..support::plan(services) };
    s.event(Event::Apply { plan });
    s
}

fn random(seed: u64) -> Faults {
    Faults { start_order: StartOrder::Random { seed }, ..Faults::default() }
}

fn slow(name: &str, by: Duration) -> Faults {
    Faults { slow: [(Name::from(name), by)].into(), ..Faults::default() }
}

/// The order of starts, when each service becomes ready before the next is drawn.
fn order(services: &[Service], seed: u64) -> Vec<String> {
    let mut s = apply(services.to_vec(), random(seed));
    let mut order = Vec::new();
    while let [name] = s.spawned().as_slice() {
        order.push(name.clone());
        s.start(&order[order.len() - 1]);
        s.pass_probe(&order[order.len() - 1], 0);
    }
    assert_eq!(order.len(), services.len(), "{order:?}");
    order
}

fn diamond() -> Vec<Service> {
    ["a", "b", "c", "d", "e"]
        .map(|name| {
            let service = service(name).probe(Probe::Notify);
            if name == "d" { service.needs("a").needs("b") } else { service }
        })
        .into()
}

#[test]
fn seeds_draw_different_valid_orders() {
    let orders: Vec<_> = (0..50).map(|seed| order(&diamond(), seed)).collect();
    let again: Vec<_> = (0..50).map(|seed| order(&diamond(), seed)).collect();
    assert_eq!(orders, again);
    let at = |order: &[String], name: &str| order.iter().position(|other| other == name);
    for order in &orders {
        assert!(at(order, "d") > at(order, "a") && at(order, "d") > at(order, "b"), "{order:?}");
    }
    let first: BTreeSet<_> = orders.iter().map(|order| order[0].clone()).collect();
    assert_eq!(first, ["a", "b", "c", "e"].map(str::to_owned).into(), "all that could be first");
    assert!(orders.iter().collect::<BTreeSet<_>>().len() > 20);
}

#[test]
fn draw_waits_for_pending_builds_and_ports() {
    let services = vec![service("a").built(), service("b").built(), service("c")];
    let mut s = apply(services, random(1));
    assert_eq!(s.spawned(), [""; 0]);
    s.built("b", 1);
    assert_eq!((s.spawned(), s.state()), (vec![], State::Working));
    assert_eq!(s.reason("b"), "waits for its turn in the random start order");
    s.built("a", 1);
    assert_eq!(s.spawned().len(), 1);
}

#[test]
fn failed_start_passes_its_turn() {
    let mut s = apply(vec![service("a").probe(Probe::Notify), service("b")], random(4));
    let first = s.spawned()[0].clone();
    if first == "a" {
        s.start("a");
        s.pass(START);
        s.end("a", Exit::Signal(15));
        assert_eq!(s.failure("a"), Some(Failure::Timeout));
        assert_eq!(s.run("b"), 1);
    } else {
        s.start("b");
        assert_eq!(s.run("a"), 1);
    }
}

#[test]
fn callee_of_a_starting_service_is_drawn_at_once() {
    for seed in 0..10 {
        let on = |name: &str, of: &str| service(name).probe(Probe::Notify).using(of).port(None);
        let (a, b) = (on("a", "b"), on("b", "a"));
        let mut s = apply(vec![a, b, service("c")], random(seed));
        s.bind("a", &[40_001]);
        s.bind("b", &[40_002]);
        let others = |s: &Scenario| [s.run("a"), s.run("b")];
        if s.run("c") == 1 {
            s.start("c");
        }
        assert_eq!(others(&s), [1, 1], "they start together, in any order of draws");
    }
}

#[test]
fn slow_service_delays_each_start() {
    let by = Duration::from_secs(2);
    let mut s = apply(vec![service("a"), service("b").needs("a"), service("c")], slow("a", by));
    assert_eq!(s.spawned(), ["c"]);
    assert_eq!((s.phase("a"), s.state()), (Phase::Waiting, State::Working));
    assert_eq!(s.reason("a"), "waits for its `--slow` delay");
    s.pass(by - Duration::from_millis(1));
    assert_eq!(s.run("a"), 0);
    s.pass(Duration::from_millis(1));
    assert_eq!(s.run("a"), 1);
    s.start("a");
    assert_eq!(s.spawned(), ["b"]);
    s.start("b");
    s.restart(&["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.run("a"), 1, "held back again");
    s.pass(by);
    assert_eq!(s.run("a"), 2);
}

#[test]
fn unwanted_slow_service_never_starts() {
    let by = Duration::from_secs(2);
    let mut s = apply(vec![service("a"), service("b").needs("a")], slow("a", by));
    s.take_down(&["a"]);
    assert_eq!(s.stack.next_deadline(), None);
    s.pass(by);
    assert_eq!((s.run("a"), s.phase("a")), (0, Phase::Stopped));
}
