//! The cost of the reducer per event, in stacks of 10 to 1,000 services: does it grow with them?
//!
//! It brings graphs up and takes them down as the supervisor does, publishing after each event. It
//! prints nanoseconds, and fails on nothing.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use support::{With as _, plan, service};
use xtask_core::plan::Plan;
use xtask_core::stack::{Effect, Event, Exit, Stack};

/// Each graph is measured this often; the median counts.
const REPEATS: usize = 11;

fn main() {
    println!("{:<14}{:>10}{:>16}{:>18}", "graph", "services", "start, ns/event", "stop, ns/event");
    for size in [10, 100, 1000] {
        for (shape, make) in [("chain", chain as fn(usize) -> Plan), ("wide", wide)] {
            let plan = make(size);
            let mut runs: Vec<_> = (0..REPEATS).map(|_| measure(&plan)).collect();
            let mut median = |of: fn(&(f64, f64)) -> f64| {
                runs.sort_by(|a, b| of(a).total_cmp(&of(b)));
                of(&runs[REPEATS / 2])
            };
            let (start, stop) = (median(|run| run.0), median(|run| run.1));
            println!("{shape:<14}{size:>10}{start:>16.0}{stop:>18.0}");
        }
    }
}

fn chain(size: usize) -> Plan {
    let name = |number: usize| format!("s{number}");
    let services = (0..size).map(|number| match number.checked_sub(1) {
        None => service(&name(number)),
        Some(before) => service(&name(number)).needs(&name(before)),
    });
    plan(services.collect::<Vec<_>>())
}

fn wide(size: usize) -> Plan {
    let services = (0..size).map(|number| match number {
        0 => service("s0"),
        _ => service(&format!("s{number}")).needs("s0"),
    });
    plan(services.collect::<Vec<_>>())
}

/// Nanoseconds for each event of a bring-up and of a shutdown.
fn measure(plan: &Plan) -> (f64, f64) {
    let mut stack = Stack::new();
    let start = play(&mut stack, Event::Apply { plan: plan.clone() });
    (start, play(&mut stack, Event::Shutdown))
}

/// Steps an event and the answers to its effects until there are none.
fn play(stack: &mut Stack, first: Event) -> f64 {
    let (mut events, mut effects) = (VecDeque::from([first]), Vec::new());
    let (mut count, mut pid) = (0_u32, 0);
    let began = Instant::now();
    while let Some(event) = events.pop_front() {
        count += 1;
        stack.step(Duration::from_millis(count.into()), event, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Spawn { service, run, .. } => {
                    pid += 1;
                    events.push_back(Event::Started { service, run, pid });
                }
                Effect::Signal { service, run, .. } => {
                    let exit = Exit::Code(0);
                    let exited = Event::Exited { service: service.clone(), run, exit, clue: None };
                    events.extend([exited, Event::Gone { service, run }]);
                }
                _ => {}
            }
        }
        // As the supervisor publishes.
        for name in stack.take_changed() {
            std::hint::black_box(stack.service_snapshot(&name));
        }
        std::hint::black_box(stack.state());
    }
    began.elapsed().as_nanos() as f64 / f64::from(count)
}
