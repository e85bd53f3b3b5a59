//! Nothing starts before its time, twice, or too often.
//!
//! Who should have been started and was not is found at rest, in `promises`.

use std::time::Duration;

use xtask_core::plan::Program;
use xtask_core::stack::{Effect, Report};
use xtask_core::terms::{Condition, Name};

use super::seen::{Life, Seen, Whose};
use super::{Observed, Verdict, demand};

/// Judges one effect before it is noted.
pub(super) fn check(observed: &Observed, now: Duration, effect: &Effect) -> Verdict {
    match effect {
        Effect::Spawn { service, run, command, .. } => {
            let seen = &observed.services[service];
            one_run(seen, *run)?;
            program(seen, &command.program)?;
            address(observed, now, seen, &command.env)?;
            conditions(observed, seen)?;
            restart_edges(observed, now, seen)?;
            pauses(seen, now)
        }
        Effect::Probe { service, run, .. } => {
            let seen = &observed.services[service];
            demand!(seen.wanted, "wanted", "`{service}` is probed and not wanted");
            let newer = seen.life.as_ref().is_none_or(|life| *run > life.run);
            demand!(newer, "one run", "`{service}` is probed again as run {run}");
            conditions(observed, seen)
        }
        Effect::Report(Report::Phase { service, phase, .. }) => {
            let seen = &observed.services[service];
            let ready = seen.life.as_ref().is_some_and(|life| life.ready() && !life.job);
            match phase {
                xtask_core::snapshot::Phase::Ready => {
                    demand!(ready, "ready", "`{service}` is said to be ready");
                }
                xtask_core::snapshot::Phase::Succeeded => {
                    demand!(seen.succeeded, "succeeded", "`{service}` is said to have succeeded");
                }
                _ => {}
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// It is wanted, and nothing of it is there.
pub(super) fn one_run(seen: &Seen, run: u64) -> Verdict {
    let name = &seen.spec.name;
    demand!(seen.wanted, "wanted", "`{name}` is started and not wanted");
    let rest =
        seen.life.as_ref().filter(|life| !life.external && !life.parted()).map(|life| life.run);
    demand!(rest.is_none(), "one run", "`{name}` run {run} begins beside run {rest:?}");
    Ok(())
}

fn program(seen: &Seen, program: &str) -> Verdict {
    let Program::Artifact { .. } = seen.spec.program else { return Ok(()) };
    let name = &seen.spec.name;
    let accepted = seen.accepted.as_ref().map(|(path, _)| path.as_str());
    demand!(accepted == Some(program), "program", "`{name}` is started from {program}");
    let may = !seen.pending || seen.serving;
    demand!(may, "program", "`{name}` is started while its build has not answered");
    Ok(())
}

fn address(observed: &Observed, now: Duration, seen: &Seen, env: &[(String, String)]) -> Verdict {
    let name = &seen.spec.name;
    let own = seen.spec.ports.is_empty() || seen.bound;
    demand!(own, "own address", "`{name}` is started without its ports");
    for (key, value) in env {
        let Some(other) = observed.services.get(key.to_lowercase().as_str()) else { continue };
        if other.is_lost(now) {
            continue; // What cannot be stopped has its old address for ever.
        }
        // A broken build changes nothing: what runs, or has succeeded, keeps the ports that
        // it has, if any, and counts as it is. Its new ones come with the next build.
        let lives = other.life.as_ref().is_some_and(Life::goes_on) || other.succeeded;
        let runs_on = other.wanted && other.build_failed && lives;
        let kept = other.had.as_ref().filter(|_| runs_on).map(|(_, numbers)| numbers.clone());
        let expected = [declared(other), other.numbers.clone(), kept]
            .map(|numbers| numbers.and_then(|numbers| numbers.first().map(ToString::to_string)));
        demand!(
            expected.contains(&Some(value.clone())),
            "address",
            "`{name}` is given {value} as the port of `{key}`, which is {expected:?}"
        );
        demand!(
            other.ports_asked.is_none(),
            "address",
            "`{name}` is started while the ports of `{key}` are asked for"
        );
        // Where the sockets are about to be there, nobody starts without them.
        let given_up = !other.wanted || other.spec.program == Program::External;
        let ours = |life: &Life| life.whose == Whose::Ours && !life.external;
        let ours = other.life.as_ref().is_some_and(ours);
        let failed = !ours || runs_on;
        demand!(
            other.bound || given_up || failed,
            "address",
            "`{name}` is started before the ports of `{key}` are there"
        );
    }
    Ok(())
}

pub(super) fn declared(seen: &Seen) -> Option<Vec<u16>> {
    seen.spec.ports.iter().map(|port| port.number).collect()
}

/// Everything that it depends on is as far as it wants.
pub(super) fn conditions(observed: &Observed, seen: &Seen) -> Verdict {
    let name = &seen.spec.name;
    for edge in &seen.spec.depends_on {
        let on = &observed.services[&edge.on];
        let (checker, holds) = match edge.condition {
            Condition::Ready => ("condition ready", is_ready(on)),
            Condition::Succeeded => ("condition succeeded", on.is_job() && on.succeeded),
            Condition::Started => ("condition started", is_started(on)),
        };
        demand_with(checker, holds, name, &edge.on)?;
        if on.together.contains(name) {
            continue;
        }
        for member in &on.together {
            let other = &observed.services[member];
            let holds = match edge.condition {
                Condition::Ready | Condition::Succeeded => is_ready(other),
                Condition::Started => is_started(other),
            };
            demand_with("together", holds, name, member)?;
        }
    }
    Ok(())
}

fn demand_with(checker: &'static str, holds: bool, name: &Name, on: &Name) -> Verdict {
    let message = format!("`{name}` is started, and `{on}` is not as far");
    if holds { Ok(()) } else { Err(super::Violation { checker, message }) }
}

fn is_ready(seen: &Seen) -> bool {
    if seen.is_job() { seen.succeeded } else { seen.ready() }
}

fn is_started(seen: &Seen) -> bool {
    let live = seen.wanted && seen.life.as_ref().is_some_and(|life| life.live());
    let probed = seen.spec.program != Program::External || seen.ready();
    (live && (probed || !seen.is_job())) || (seen.is_job() && seen.succeeded)
}

/// Dependents that are restarted with a service end before it starts again.
fn restart_edges(observed: &Observed, now: Duration, seen: &Seen) -> Verdict {
    let name = &seen.spec.name;
    if seen.crashed_at.is_none() || seen.asked {
        return Ok(());
    }
    for dependent in observed.dependents(name) {
        let other = &observed.services[&dependent];
        let with = other.spec.depends_on.iter().any(|edge| edge.on == *name && edge.restart);
        let runs = other.process(now).is_some_and(|life| life.live());
        demand!(
            !(with && runs && other.wanted),
            "restart edges",
            "`{name}` is started again while `{dependent}` runs on"
        );
    }
    Ok(())
}

fn pauses(seen: &Seen, now: Duration) -> Verdict {
    let name = &seen.spec.name;
    let others_say = seen.spec.depends_on.iter().any(|edge| edge.restart);
    let Some(crashed) = seen.crashed_at.filter(|_| !seen.asked && !seen.excused && !others_say)
    else {
        return Ok(());
    };
    let pause = now.saturating_sub(crashed);
    demand!(pause >= Duration::from_millis(200), "pauses", "`{name}` again after {pause:?}");
    let minute = now.saturating_sub(Duration::from_secs(60));
    let recent = seen.again.iter().filter(|at| **at > minute).count();
    demand!(recent < 6, "pauses", "`{name}` is started for the {recent}th time in a minute");
    Ok(())
}
