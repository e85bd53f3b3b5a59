//! Nothing is stopped out of order, without a reason, or killed before its time.
//!
//! That everything ends at all is found at the end.

use std::time::Duration;

use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Fault, Report, Run, Signal};
use xtask_core::terms::Name;

use super::seen::{Life, Seen, Whose};
use super::{Observed, Verdict, demand};

/// Judges one effect before it is noted.
pub(super) fn check(observed: &Observed, now: Duration, effect: &Effect) -> Verdict {
    if let Effect::Report(Report::Phase { service, run, phase: Phase::Stopping, .. }) = effect {
        return sentence(observed, now, service, *run);
    }
    if let Effect::CancelStart { service, run } = effect {
        return calling_off(observed, service, *run);
    }
    let Effect::Signal { service, run, signal } = effect else { return Ok(()) };
    let seen = &observed.services[service];
    let Some(life) = seen.life.as_ref().filter(|life| life.run == *run) else {
        demand!(false, "signals", "a signal for `{service}` run {run}, which is no more");
        return Ok(());
    };
    demand!(life.started, "signals", "a signal for `{service}` run {run}, which is not there yet");
    match signal {
        Signal::Stop(_) => {
            demand!(life.told.is_none(), "signals", "`{service}` run {run} is told twice");
            // Of a run whose leader ended by itself only the rest of its group is told.
            if life.exit.is_none() && life.whose == Whose::Ours {
                if !life.sentenced {
                    reason(observed, now, seen, life)?;
                }
                order(observed, now, seen)?;
            }
            Ok(())
        }
        Signal::Kill if observed.is_owed(service, Fault::Kill) => Ok(()),
        Signal::Kill => grace(observed, now, seen, life),
        // One for each time that a test asks, as long as the run lives: also for one that a
        // test has killed, whose end may take a moment.
        Signal::Pause => asked_for(observed, service, Fault::Pause),
        Signal::Resume => asked_for(observed, service, Fault::Resume),
    }
}

/// Only a start of ours that is under way is called off, and once.
fn calling_off(observed: &Observed, service: &Name, run: Run) -> Verdict {
    let life = observed.services[service].life.as_ref().filter(|life| life.run == run);
    let unborn = life.is_some_and(|life| !life.started && life.whose == Whose::Ours);
    demand!(unborn, "signals", "`{service}` run {run} is called off, and does not start");
    let again = life.is_some_and(|life| life.called_off);
    demand!(!again, "signals", "`{service}` run {run} is called off twice");
    Ok(())
}

/// What is not there yet cannot be told to stop: the reason counts that there is now.
fn sentence(observed: &Observed, now: Duration, service: &Name, run: Run) -> Verdict {
    let seen = &observed.services[service];
    let ours = |life: &&Life| life.whose == Whose::Ours && !life.external;
    let unborn = |life: &&Life| life.run == run && !life.started && life.exit.is_none();
    match seen.life.as_ref().filter(ours).filter(unborn) {
        Some(life) => reason(observed, now, seen, life),
        None => Ok(()),
    }
}

/// Only tests let a run stand still or go on.
fn asked_for(observed: &Observed, service: &Name, fault: Fault) -> Verdict {
    let owed = observed.is_owed(service, fault);
    demand!(owed, "signals", "`{service}` gets the signal of {fault:?}, and nobody asked");
    Ok(())
}

/// Dependents that end, too, end first.
fn order(observed: &Observed, now: Duration, seen: &Seen) -> Verdict {
    let name = &seen.spec.name;
    if seen.wanted {
        return replaced_order(observed, now, seen);
    }
    for dependent in observed.dependents(name) {
        let other = &observed.services[&dependent];
        let alive = !other.wanted && other.process(now).is_some();
        demand!(!alive, "take-down", "`{name}` is told to stop under `{dependent}`");
    }
    Ok(())
}

/// Dependents that are restarted with it end first.
fn replaced_order(observed: &Observed, now: Duration, seen: &Seen) -> Verdict {
    let name = &seen.spec.name;
    if !seen.excused {
        return Ok(());
    }
    for dependent in observed.dependents(name) {
        let other = &observed.services[&dependent];
        let with = other.spec.depends_on.iter().any(|edge| edge.on == *name && edge.restart);
        let runs = other.process(now).is_some_and(|life| life.exit.is_none());
        let late = seen.life.as_ref().is_some_and(|life| now >= life.overdue);
        // What had to end before a later plan made somebody its dependent waits for that one
        // only if it ends anyway.
        let sentenced = seen.life.as_ref().is_some_and(|life| life.sentenced);
        let ends = other.life.as_ref().is_some_and(|life| life.told.is_some());
        demand!(
            !(with && runs && other.wanted) || late || (sentenced && !ends),
            "restart edges",
            "`{name}` is replaced under `{dependent}`"
        );
    }
    Ok(())
}

/// What is wanted and runs is left alone, unless there is a reason.
fn reason(observed: &Observed, now: Duration, seen: &Seen, life: &Life) -> Verdict {
    let late = !life.ready() && now >= life.overdue;
    let mut known = Vec::new();
    let excused = !seen.wanted || late || excused(observed, &seen.spec.name, &mut known);
    demand!(excused, "left alone", "`{}` is told to stop for no reason", seen.spec.name);
    Ok(())
}

/// A reason of its own, or that of something that it is restarted with.
fn excused(observed: &Observed, name: &Name, known: &mut Vec<Name>) -> bool {
    if known.contains(name) {
        return false;
    }
    known.push(name.clone());
    let seen = &observed.services[name];
    if seen.excused {
        return true;
    }
    let mut edges = seen.spec.depends_on.iter().filter(|edge| edge.restart);
    edges.any(|edge| {
        let on = &observed.services[&edge.on];
        // A new run or a crash since this one was started, or a reason for one.
        let mine = seen.life.as_ref().map_or(Duration::ZERO, |life| life.since);
        on.crashed_at.is_some()
            || on.life.as_ref().is_none_or(|life| life.since >= mine || life.killed.is_some())
            || excused(observed, &edge.on, known)
    })
}

/// SIGKILL comes after the service's own grace, unless it went silent or all is killed.
fn grace(observed: &Observed, now: Duration, seen: &Seen, life: &Life) -> Verdict {
    let name = &seen.spec.name;
    let over = life.grace_ends.is_some_and(|ends| now >= ends);
    let silent = seen
        .spec
        .watchdog
        .is_some_and(|every| life.last_ping.is_some_and(|ping| now >= ping + every));
    let unborn = now >= life.since + super::seen::REACH;
    demand!(
        over || silent || observed.kill_now || unborn,
        "grace",
        "`{name}` is killed before its time"
    );
    demand!(life.killed.is_none(), "grace", "`{name}` is killed twice");
    Ok(())
}
