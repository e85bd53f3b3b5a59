//! What should not come and may come all the same: events said twice, of runs that are
//! over or were never started, of services that nobody knows, and words of processes
//! that nothing hangs on.
//!
//! Whether an event is nonsense is for the checkers to find out.

use xtask_core::stack::event::InspectionResult;
use xtask_core::stack::{Artifact, BindFailure, Event, Exit, Fault, Run};
use xtask_core::terms::Name;

use crate::random::Random;

/// An event out of place, about one of these services and their last runs, or nobody's.
pub(crate) fn event(random: &mut Random, known: &[(Name, Run)]) -> Event {
    let (service, last) = match random.below(20) {
        0 => (Name::from("nobody"), 1),
        _ => random.pick(known).clone(),
    };
    // Seldom one that is still to come, else one that may be over.
    let run = match random.below(10) {
        0 => never(last),
        1..=3 => last,
        _ => u64::try_from(random.below(usize::try_from(last).unwrap())).unwrap(),
    };
    let known_words = run == last && random.chance(80);
    match random.below(if known_words { 4 } else { 18 }) {
        0 => Event::Status { service, run, status: "busy".to_owned() },
        1 => Event::ExtendTimeout { service, run, by: random.millis(0..30_000) },
        2 => Event::WatchdogPing { service, run },
        3 => Event::Status { service, run, status: String::new() },
        4 => Event::Exited { service, run: over(run, last), exit: Exit::Signal(9) },
        5 => Event::Gone { service, run: over(run, last) },
        6 => Event::Started { service, run: over(run, last), pid: 2 },
        7 => {
            let error = "late".to_owned();
            Event::StartFailed { service, run: over(run, last), error }
        }
        8 => Event::ProbePassed { service, run: over(run, last), probe: 7 },
        9 => {
            let seen = "late".to_owned();
            Event::ProbeSeen { service, run: over(run, last), probe: 7, seen }
        }
        10 => Event::Linked { path: format!("/target/debug/{service}"), service },
        11 => {
            // What was kept before, again.
            let path = format!("/kept/{service}/0");
            let artifact = Artifact { path, content: 0, image: None };
            Event::Accepted { service, artifact }
        }
        12 => Event::Bound { service, ports: vec![1; 9] },
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
        _ => {
            let failure = BindFailure::Other { port: 1, error: "late".to_owned() };
            Event::BindFailed { service, failure, others: Vec::new() }
        }
    }
}

/// A run other than the last: what ends or begins that one is for the world to say.
fn over(run: Run, last: Run) -> Run {
    if run == last { never(last) } else { run }
}

/// A run that no play comes to, however late the event arrives.
fn never(last: Run) -> Run {
    last + 1000
}
