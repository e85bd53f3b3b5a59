//! Random stale, repeated and impossible events: of past runs, of runs that never started, and of
//! unknown services. Some are messages of present runs that change nothing.
//!
//! The checkers decide which of them are unexpected.

use xtask_core::stack::event::InspectionResult;
use xtask_core::stack::{Artifact, BindFailure, Event, Exit, Fault, Run};
use xtask_core::terms::Name;

use crate::checkers::KnownRuns;
use crate::random::Random;

/// A random event of one of these services with its last run, or of an unknown service.
pub(crate) fn event(random: &mut Random, known: &[KnownRuns]) -> Event {
    let unknown = || KnownRuns { service: Name::from("unknown"), last: 1, present: Vec::new() };
    let KnownRuns { service, last, present } = match random.below(20) {
        0 => unknown(),
        _ => random.pick(known).clone(),
    };
    // What only the world starts and ends is left to it.
    let other_run = |run: Run, last: Run| match run == last || present.contains(&run) {
        true => future(last),
        false => run,
    };
    // Rarely a future run, else the last or a past one.
    let run = match random.below(10) {
        0 => future(last),
        1..=3 => last,
        _ => u64::try_from(random.below(usize::try_from(last).unwrap())).unwrap(),
    };
    let present_message = run == last && random.chance(80);
    match random.below(if present_message { 4 } else { 24 }) {
        0 => Event::Status { service, run, status: "busy".to_owned() },
        1 => Event::ExtendTimeout { service, run, by: random.millis(0..30_000) },
        2 => Event::WatchdogPing { service, run },
        3 => Event::Status { service, run, status: String::new() },
        4 => {
            Event::Exited { service, run: other_run(run, last), exit: Exit::Signal(9), clue: None }
        }
        5 => Event::Gone { service, run: other_run(run, last) },
        6 => Event::Started { service, run: other_run(run, last), pid: 2 },
        7 => {
            let error = "late".to_owned();
            Event::StartFailed { service, run: other_run(run, last), error }
        }
        8 => Event::ProbePassed { service, run: other_run(run, last), probe: 7 },
        9 => {
            let seen = "late".to_owned();
            Event::ProbeSeen { service, run: other_run(run, last), probe: 7, seen }
        }
        10 => Event::Linked { program: format!("/target/debug/{service}").into(), service },
        11 => {
            // The first program again.
            let path = format!("/kept/{service}/0");
            let artifact = Artifact { linked: path.clone().into(), path, content: 0, image: None };
            Event::Accepted { service, artifact }
        }
        12 | 18 => Event::Bound { service, ports: vec![1; 9] },
        13 => {
            let message = "late".to_owned();
            Event::BuildFailed { service, message }
        }
        14 => {
            let fault = *random.pick(&[Fault::Kill, Fault::Pause, Fault::Resume]);
            Event::Fault { service, fault }
        }
        15 => Event::HolderInspected { service, result: InspectionResult::Free },
        16 => {
            let trouble = random.chance(50).then(|| "no space left".to_owned());
            Event::LogTrouble { service, trouble }
        }
        17 => Event::PortsLost { service, run: other_run(run, last) },
        19 => Event::PortsChecked { service, failures: Vec::new() },
        20 => {
            let failure = random.chance(50).then(|| "late".to_owned());
            Event::HealthChecked { service, run, failure }
        }
        _ => {
            let failure = BindFailure::Other { port: 1, error: "late".to_owned() };
            Event::BindFailed { service, failure, others: Vec::new() }
        }
    }
}

/// A run that no play reaches.
fn future(last: Run) -> Run {
    last + 1000
}
