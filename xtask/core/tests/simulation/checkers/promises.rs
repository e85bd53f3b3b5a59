//! What holds for the stack as a whole: it stands still, it gets somewhere, it says no
//! nonsense, and nobody is forgotten.

use std::time::Duration;

use xtask_core::plan::Program;
use xtask_core::snapshot::{Phase, State};
use xtask_core::stack::{Effect, Event, Report, Stack};
use xtask_core::terms::{Adopt, Condition};

use super::bring_up::declared;
use super::seen::{Seen, Whose};
use super::{Observed, Verdict, demand};

/// Judges one effect before it is noted.
pub(super) fn check(observed: &Observed, effect: &Effect, nonsense: bool) -> Verdict {
    demand!(observed.ends == 0, "the end", "{effect:?} after the end");
    if let Effect::Report(Report::Unexpected { what }) = effect {
        let known = what.ends_with("while the stack ends") || what.ends_with("survived SIGKILL");
        demand!(known || nonsense, "nonsense", "{what}");
    }
    Ok(())
}

/// One event causes no more than something about everybody.
pub(super) fn bounded(observed: &Observed, effects: &[Effect]) -> Verdict {
    let most = 20 + 8 * observed.services.len();
    demand!(effects.len() <= most, "livelock", "{} effects of one event", effects.len());
    Ok(())
}

/// A second look changes nothing, and the next one is later. A copy looks, so that the stack
/// itself gets no tick that it would not get elsewhere.
pub(super) fn fixed_point(stack: &Stack, now: Duration) -> Verdict {
    let mut copy = stack.clone();
    let mut effects = Vec::new();
    copy.step(now, Event::Tick, &mut effects);
    demand!(effects.is_empty(), "fixed point", "a second look caused {effects:?}");
    let next = stack.next_deadline();
    let after = copy.next_deadline();
    demand!(after == next, "fixed point", "a second look moved {next:?} to {after:?}");
    let later = next.is_none_or(|next| next > now);
    demand!(later, "fixed point", "at {now:?} the next deadline is {next:?}");
    Ok(())
}

/// Looking at everybody finds nothing that looking at the changed ones did not.
pub(super) fn worklist(observed: &Observed, stack: &Stack) -> Verdict {
    let mut all = stack.clone();
    let mut effects = Vec::new();
    all.sweep(&mut effects);
    demand!(effects.is_empty(), "worklist", "a look at everybody caused {effects:?}");
    let snapshot = stack.snapshot();
    demand!(all.snapshot() == snapshot, "worklist", "a look at everybody changed something");
    for this in &snapshot.services {
        let said = observed.services[&this.name].phase;
        demand!(this.phase == said, "worklist", "`{}` is said to be {said:?}", this.name);
    }
    Ok(())
}

/// Whoever waits waits for something that can still come, and whoever failed for
/// another's sake has another that is to blame.
pub(super) fn nobody_hangs_on_a_failure(observed: &Observed) -> Verdict {
    let waits = |seen: &&Seen| seen.wanted && seen.phase == Phase::Waiting;
    for seen in observed.services.values().filter(waits) {
        let name = &seen.spec.name;
        for edge in &seen.spec.depends_on {
            let phase = observed.services[&edge.on].phase;
            let dead = matches!(phase, Phase::Failed | Phase::Stopped);
            let on = &edge.on;
            demand!(!dead, "failed dependency", "`{name}` waits for `{on}`, which is {phase:?}");
        }
    }
    Ok(())
}

/// Long after the last fault everybody is where he can stay.
pub(super) fn everything_settled(observed: &Observed, now: Duration, stack: &Stack) -> Verdict {
    let snapshot = stack.snapshot();
    demand!(snapshot.state != State::Working, "rest", "still at work: {:#?}", unsettled(stack));
    for seen in observed.services.values() {
        let name = &seen.spec.name;
        let this = snapshot.service(name).unwrap();
        let settled =
            matches!(this.phase, Phase::Ready | Phase::Succeeded | Phase::Failed | Phase::Stopped);
        demand!(settled || !seen.wanted, "rest", "`{name}` is {:?}: {:?}", this.phase, this.reason);
        if this.failure == Some(xtask_core::snapshot::Failure::Dependency) {
            let named = seen.spec.depends_on.iter().map(|edge| &edge.on);
            let all = named.chain(seen.spec.uses.iter().map(|used| &used.of));
            // With a broken build what runs goes on, and has none of the ports of the plan.
            let nameless = |on: &Seen| on.numbers.is_none() && declared(on).is_none();
            let blame =
                all.flat_map(|on| observed.services[on].together.iter().chain([on])).any(|on| {
                    let phase = snapshot.service(on).unwrap().phase;
                    let on = &observed.services[on];
                    let well = if on.is_job() { Phase::Succeeded } else { Phase::Ready };
                    phase != well || nameless(on)
                });
            // In another plan it may be no job any more, and then it never succeeds.
            let hopeless = seen.spec.depends_on.iter().any(|edge| {
                edge.condition == Condition::Succeeded && !observed.services[&edge.on].is_job()
            });
            demand!(blame || hopeless, "waits again", "`{name}` failed, and nobody is to blame");
        }
        let managed = seen.spec.program != Program::External;
        // What cannot be ended keeps the sockets that it was started with.
        let left = seen.life.as_ref().is_some_and(|life| !life.external);
        demand!(managed || left || !seen.bound, "address", "the tool has ports for `{name}`");
        if this.phase == Phase::Ready {
            current(observed, now, seen)?;
        }
    }
    Ok(())
}

fn unsettled(stack: &Stack) -> Vec<String> {
    let services = stack.snapshot().services.into_iter();
    services.map(|this| format!("{} {:?} {:?}", this.name, this.phase, this.reason)).collect()
}

/// Whether its command can be said: one that names a port which another plan took away
/// cannot, and what runs goes on instead of making room for nothing.
fn can_be_said(observed: &Observed, seen: &Seen) -> bool {
    let named = seen.spec.env.keys().map(|key| key.to_lowercase());
    let mut others = named.filter_map(|name| observed.services.get(name.as_str()));
    others.all(|other| {
        let declared = other.spec.ports.first().map(|port| port.number);
        let had = other.numbers.as_ref().filter(|_| !other.numbers_lost);
        declared.is_some_and(|number| number.is_some() || had.is_some())
    })
}

/// What runs is what is wanted, as far as it could be built.
fn current(observed: &Observed, now: Duration, seen: &Seen) -> Verdict {
    let Some(life) = &seen.life else { return Ok(()) };
    let anybody = life.whose != Whose::Ours && seen.spec.adopt == Adopt::Any;
    if seen.build_failed || life.external || anybody {
        return Ok(());
    }
    if !can_be_said(observed, seen) {
        return Ok(());
    }
    let name = &seen.spec.name;
    if let Program::Artifact { .. } = seen.spec.program {
        let accepted = seen.accepted.as_ref().map(|accepted| accepted.1);
        demand!(life.content == accepted, "current", "`{name}` runs an old program");
    }
    let args: Vec<String> = seen.spec.args.iter().map(|arg| arg.value.to_string()).collect();
    let args_count = life.whose == Whose::Ours;
    demand!(
        !args_count || life.args == args,
        "current",
        "`{name}` runs with {:?}, not {args:?}",
        life.args
    );
    for (key, value) in &life.env {
        let Some(other) = observed.services.get(key.to_lowercase().as_str()) else { continue };
        let external = other.spec.program == Program::External;
        // Where nobody would answer at any number, nobody is restarted for the right one.
        let runs = matches!(other.phase, Phase::Starting | Phase::Ready);
        let serves = other.bound || external || runs;
        // What is beyond reach has its old one for ever; and what was not managed, and has a
        // broken build since, is where it was.
        let was_external = other.life.as_ref().is_some_and(|life| life.external) && !external;
        let stuck = other.is_lost(now) || (was_external && other.build_failed);
        if !other.wanted || !serves || stuck {
            continue;
        }
        // What no build made room for has its old ones.
        let had = other.had.as_ref().filter(|_| other.build_failed).map(|(_, numbers)| numbers);
        // What is not managed is where the plan says, and so is what never had a port here.
        let own = other.numbers.clone().filter(|_| !external).or_else(|| declared(other));
        let known = [own.as_ref(), had].map(|numbers| numbers.and_then(|numbers| numbers.first()));
        let right = known.iter().flatten().any(|number| number.to_string() == *value);
        demand!(right, "current", "`{name}` calls `{key}` at {value}, not {known:?}");
    }
    Ok(())
}
