//! What holds for the whole stack: it reaches a fixed point, makes progress, reports unexpected
//! events only for bad input, and leaves no service waiting forever.

use std::time::Duration;

use xtask_core::plan::Program;
use xtask_core::snapshot::{Failure, Phase, Snapshot, State};
use xtask_core::stack::{BindFailure, Effect, Event, Report, Stack};
use xtask_core::terms::{Adopt, Condition, Name};

use super::bring_up::{declared_numbers, together};
use super::service::{Origin, ServiceHistory};
use super::take_down::calls_for_new_run;
use super::{History, Verdict, demand};

/// Checks an effect before it is recorded.
pub(super) fn check(history: &History, effect: &Effect, unexpected: bool) -> Verdict {
    demand!(history.ends == 0, "the end", "{effect:?} after the end");
    if let Effect::Report(Report::Unexpected { what }) = effect {
        let known = what.ends_with("while the stack ends") || what.ends_with("survived SIGKILL");
        demand!(known || unexpected, "unexpected events", "{what}");
    }
    Ok(())
}

/// Whether another service has a port of the present plan. A port that is closing has no owner.
fn has_taken_port(history: &History, service: &ServiceHistory, closing: Option<u16>) -> bool {
    let mut declared = service.spec.ports.iter().filter_map(|port| port.number);
    declared.any(|own| closing != Some(own) && history.is_occupied(service, own))
}

/// A port that the system still holds, or that was lost since the last run, is no failure of the
/// service. The first is not requested at once again.
pub(super) fn waits_for_closing_port(history: &History, event: &Event, effect: &Effect) -> Verdict {
    let (name, closing) = match event {
        Event::BindFailed { service, failure: BindFailure::Closing { port, .. }, .. } => {
            (service, Some(*port))
        }
        Event::PortsLost { service, .. } => (service, None),
        _ => return Ok(()),
    };
    match effect {
        // The plan may have changed the number since.
        Effect::Bind { service, ports, .. } if service == name => {
            let again = closing.is_some() && ports[0].number == closing;
            demand!(!again, "closing port", "`{name}` requests its ports at once again");
        }
        Effect::Report(Report::Phase { service, phase: Phase::Backoff, .. }) => {
            demand!(service != name, "closing port", "`{name}` counts it as a crash");
        }
        Effect::Report(Report::Phase { service, phase: Phase::Failed, reason, .. }) => {
            // Another service may have the ports of a later plan, which were not lost.
            let present = &history.services[name];
            let other = present.has_other_ports() || has_taken_port(history, present, closing);
            let named = reason.as_ref().is_some_and(|why| why.contains("port "));
            let own = service == name && !other && named;
            demand!(!own, "closing port", "`{name}` failed: {reason:?}");
        }
        _ => {}
    }
    Ok(())
}

/// The number of effects of one event is limited.
pub(super) fn bounded(history: &History, effects: &[Effect]) -> Verdict {
    let most = 20 + 8 * history.services.len();
    demand!(effects.len() <= most, "livelock", "{} effects of one event", effects.len());
    Ok(())
}

/// Another tick changes nothing, and the next deadline is later. A copy gets the tick, because
/// the stack would not get it elsewhere.
pub(super) fn fixed_point(stack: &Stack, now: Duration) -> Verdict {
    let mut copy = stack.clone();
    let mut effects = Vec::new();
    copy.step(now, Event::Tick, &mut effects);
    demand!(effects.is_empty(), "fixed point", "another tick caused {effects:?}");
    let next = stack.next_deadline();
    let after = copy.next_deadline();
    demand!(after == next, "fixed point", "another tick moved {next:?} to {after:?}");
    let later = next.is_none_or(|next| next > now);
    demand!(later, "fixed point", "at {now:?} the next deadline is {next:?}");
    Ok(())
}

/// Evaluating every service finds nothing that evaluating the changed ones missed.
pub(super) fn worklist(history: &History, stack: &Stack) -> Verdict {
    let mut all = stack.clone();
    let mut effects = Vec::new();
    all.sweep(&mut effects);
    demand!(effects.is_empty(), "worklist", "a sweep caused {effects:?}");
    let snapshot = stack.snapshot();
    demand!(all.snapshot() == snapshot, "worklist", "a sweep changed the snapshot");
    for this in &snapshot.services {
        let reported = history.services[&this.name].phase;
        demand!(this.phase == reported, "worklist", "`{}` is reported as {reported:?}", this.name);
        let serving = history.services[&this.name].run.as_ref().map(|run| run.number);
        let shown = serving.is_none_or(|run| run == this.run);
        demand!(shown, "serving run", "`{}` shows run {}, not {serving:?}", this.name, this.run);
        let failed = this.candidate.as_ref().filter(|run| run.phase == Phase::Failed);
        let past = failed.is_some_and(|run| run.run != 0 && run.run < this.run);
        demand!(!past, "failed candidate", "`{}` shows a past {failed:?}", this.name);
        let stale = this.phase == Phase::Ready && !this.seen.is_empty();
        demand!(!stale, "probe results", "`{}` is ready and shows {:?}", this.name, this.seen);
    }
    Ok(())
}

/// No wanted service waits for a dependency that failed or stopped.
pub(super) fn no_wait_for_failed_dependency(history: &History) -> Verdict {
    let waits = |service: &&ServiceHistory| service.wanted && service.phase == Phase::Waiting;
    for service in history.services.values().filter(waits) {
        let name = &service.spec.name;
        for edge in &service.spec.depends_on {
            let phase = history.services[&edge.on].phase;
            let ended = matches!(phase, Phase::Failed | Phase::Stopped);
            let on = &edge.on;
            demand!(!ended, "failed dependency", "`{name}` waits for `{on}`, which is {phase:?}");
        }
    }
    Ok(())
}

/// A job has succeeded when its process has, whatever that left behind.
pub(super) fn jobs_succeed_with_their_process(history: &History) -> Verdict {
    for service in history.services.values().filter(|service| service.succeeded) {
        let asked = service.last.requested > service.last.started;
        let is_current = !asked && !calls_for_new_run(history, service);
        let ended = service.run.as_ref().is_some_and(|run| run.started && run.ended_by_itself);
        if ended && service.wanted && is_current {
            let (name, stops) = (&service.spec.name, service.phase == Phase::Stopping);
            demand!(!stops, "job succeeds", "`{name}` has succeeded and is stopping");
        }
    }
    Ok(())
}

/// Long after the last fault, every service is in a final phase.
pub(super) fn all_settled(history: &History, now: Duration, stack: &Stack) -> Verdict {
    let snapshot = stack.snapshot();
    let unsettled = || -> Vec<String> {
        let services = snapshot.services.iter();
        services.map(|this| format!("{} {:?} {:?}", this.name, this.phase, this.reason)).collect()
    };
    demand!(snapshot.state != State::Working, "rest", "still working: {:#?}", unsettled());
    for service in history.services.values() {
        let name = &service.spec.name;
        let this = snapshot.service(name).unwrap();
        let settled =
            matches!(this.phase, Phase::Ready | Phase::Succeeded | Phase::Failed | Phase::Stopped);
        let phase = this.phase;
        demand!(settled || !service.wanted, "rest", "`{name}` is {phase:?}: {:?}", this.reason);
        if this.failure == Some(Failure::Dependency) {
            let has_cause = has_failed_dependency(history, &snapshot, service);
            demand!(has_cause, "waits again", "`{name}` failed without a failed dependency");
        }
        let skips = service.wanted && service.is_skipped() && service.run.is_none();
        demand!(!skips || phase == Phase::Succeeded, "once", "`{name}` is done and {phase:?}");
        let external = service.spec.program == Program::External;
        // A process that cannot be stopped keeps its sockets.
        let left = service.run.as_ref().is_some_and(|run| run.origin != Origin::External);
        demand!(
            !external || left || !service.bound,
            "address",
            "the stack binds ports of `{name}`"
        );
        if phase == Phase::Ready {
            super::handover::followed(history, service)?;
            current(history, now, service)?;
        }
    }
    Ok(())
}

fn has_failed_dependency(history: &History, snapshot: &Snapshot, service: &ServiceHistory) -> bool {
    let failed = |name: &Name| {
        let on = &history.services[name];
        let good = if on.is_job() { Phase::Succeeded } else { Phase::Ready };
        // After a failed build, the previous run keeps its old ports.
        let no_address = on.numbers().is_none() && declared_numbers(on).is_none();
        snapshot.service(name).unwrap().phase != good || no_address
    };
    // A later plan may have made a service of a job, which then never succeeds.
    let hopeless =
        service.spec.depends_on.iter().any(|edge| {
            edge.condition == Condition::Succeeded && !history.services[&edge.on].is_job()
        });
    hopeless || service.spec.edges().any(|on| together(history, on).into_iter().any(failed))
}

/// Whether the addresses in its command are known. If not, the present run is kept.
fn has_all_addresses(history: &History, service: &ServiceHistory) -> bool {
    let named = service.spec.env.keys().map(|key| key.to_lowercase());
    let mut others = named.filter_map(|name| history.services.get(name.as_str()));
    others.all(|other| {
        let declared = other.spec.ports.first().map(|port| port.number);
        let bound = other.numbers().filter(|_| !other.bind_failed);
        declared.is_some_and(|number| number.is_some() || bound.is_some())
    })
}

/// A ready run has the wanted program, arguments and addresses, as far as they could be built.
fn current(history: &History, now: Duration, service: &ServiceHistory) -> Verdict {
    let Some(run) = &service.run else { return Ok(()) };
    let adopted = matches!(run.origin, Origin::Adopted | Origin::Evicted);
    let any = run.origin == Origin::External || (adopted && service.spec.adopt == Adopt::Any);
    let refused = history.lacks_new_ports(service);
    if service.candidate_failed
        || service.build_failed
        || any
        || refused
        || !has_all_addresses(history, service)
    {
        return Ok(());
    }
    let name = &service.spec.name;
    if let Program::Artifact { .. } = service.spec.program {
        let accepted = service.accepted.as_ref().map(|accepted| accepted.1);
        demand!(run.content == accepted, "current", "`{name}` runs an old program");
    }
    let args: Vec<String> = service.spec.args.iter().map(|arg| arg.value.to_string()).collect();
    let same = adopted || run.args == args;
    demand!(same, "current", "`{name}` runs with {:?}, not {args:?}", run.args);
    for (key, value) in &run.env {
        let Some(other) = history.services.get(key.to_lowercase().as_str()) else { continue };
        let external = other.spec.program == Program::External;
        // A wrong address restarts a caller only if a service answers at the right one.
        let runs = matches!(other.phase, Phase::Starting | Phase::Ready);
        let serves = other.bound || external || runs;
        // A lost process keeps its address.
        let stuck = other.is_lost(now);
        let unaware = service.unaware_of.contains_key(&other.spec.name);
        let unmoved = unaware && !other.moved_for(service, 0);
        let overtaken = service.moved_while_built.contains(&other.spec.name);
        if !other.wanted || !serves || stuck || unmoved || overtaken {
            continue;
        }
        // After a failed build the previous run keeps its ports.
        let kept = other.build_failed || history.lacks_new_ports(other);
        let old = other.last_bound.as_ref().filter(|_| kept);
        let own = other.numbers().cloned().filter(|_| !external);
        let own = own.or_else(|| declared_numbers(other));
        let known = match other.foreign_run() {
            Some(run) => [Some(&run.numbers), None],
            None => [own.as_ref(), old.map(|(_, numbers)| numbers)],
        };
        let known = known.map(|numbers| numbers.and_then(|numbers| numbers.first()));
        let right = known.iter().flatten().any(|number| number.to_string() == *value);
        demand!(right, "current", "`{name}` calls `{key}` at {value}, not {known:?}");
    }
    Ok(())
}
