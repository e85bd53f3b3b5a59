//! Nobody's process stands in a service's place unless it is like the service, and none
//! is signalled unless somebody asked for that.
//!
//! That nothing of ours serves beside it is found in `bring_up`.

use xtask_core::plan::Program;
use xtask_core::snapshot::Phase;
use xtask_core::stack::event::{InspectedHolder, StartedBy};
use xtask_core::stack::{Command, Effect, Event, Exit, Stack};
use xtask_core::terms::{Adopt, Restart};

use super::seen::{Seen, Whose};
use super::{Observed, Verdict, bring_up, demand};

/// Judges one effect before it is noted.
pub(super) fn check(observed: &Observed, effect: &Effect) -> Verdict {
    match effect {
        Effect::Adopt { service, run, pid, command, .. } => {
            let seen = &observed.services[service];
            bring_up::one_run(seen, *run)?;
            bring_up::conditions(observed, seen)?;
            let Some(found) = seen.found.as_ref().filter(|found| found.holder.pid == *pid) else {
                demand!(false, "adoption", "`{service}` adopts {pid}, whom nobody has seen");
                return Ok(());
            };
            match whose(seen, found) {
                Whose::Ours | Whose::MakesRoom => Ok(()),
                Whose::LeftAlone => likeness(seen, found, command),
            }
        }
        Effect::Signal { service, run, signal } => {
            let life = observed.services[service].life.as_ref();
            let left = life.is_some_and(|life| life.run == *run && life.whose == Whose::LeftAlone);
            demand!(!left, "left to itself", "`{service}` is adopted and gets {signal:?}");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What becomes of a process that is taken as a run.
pub(super) fn whose(seen: &Seen, found: &InspectedHolder) -> Whose {
    let foreign = found.started_by == StartedBy::OtherStack;
    if seen.may_replace && is_of_the_program(seen, found) && !foreign {
        Whose::MakesRoom
    } else {
        Whose::LeftAlone
    }
}

fn is_of_the_program(seen: &Seen, found: &InspectedHolder) -> bool {
    let args: Vec<String> = seen.spec.args.iter().map(|arg| arg.value.to_string()).collect();
    match &seen.spec.program {
        Program::Artifact { binary, .. } => {
            found.same || found.holder.program == format!("/target/debug/{binary}")
        }
        _ => {
            let is_build = found.holder.program.ends_with(&format!("/{}", seen.spec.name));
            found.args == args && (found.same || (found.deleted && is_build))
        }
    }
}

/// The same program, the same places; or the metadata says that anybody will do.
fn likeness(seen: &Seen, found: &InspectedHolder, command: &Command) -> Verdict {
    let name = &seen.spec.name;
    if seen.spec.adopt == Adopt::Any {
        return Ok(());
    }
    demand!(seen.spec.adopt == Adopt::SameBinary, "adoption", "`{name}` is never to be adopted");
    demand!(found.same, "same program", "`{name}` adopts another program");
    demand!(found.started_by == StartedBy::Hand, "adoption", "`{name}` adopts a service");
    demand!(found.elsewhere.is_empty(), "same address", "`{name}` adopts half of its ports");
    let named = (seen.spec.depends_on.iter().map(|edge| &edge.on))
        .chain(seen.spec.uses.iter().map(|used| &used.of));
    for variable in named.map(|name| name.to_uppercase()) {
        let Some((_, wanted)) = command.env.iter().find(|(name, _)| *name == variable) else {
            continue;
        };
        let has = found.variables.as_ref().and_then(|all| all.get(&variable));
        demand!(has == Some(wanted), "same address", "`{name}` adopts with {variable} {has:?}");
    }
    Ok(())
}

/// A run of ours takes the place of an adopted process that ended, as far as the policy
/// lets it.
pub(super) fn replaced(before: &Observed, stack: &Stack, event: &Event) -> Verdict {
    let Event::Exited { service, run, exit: Exit::Unknown } = event else { return Ok(()) };
    let Some(seen) = before.services.get(service) else { return Ok(()) };
    let adopted = seen.life.as_ref().is_some_and(|life| {
        life.run == *run && life.started && life.whose == Whose::LeftAlone && life.exit.is_none()
    });
    if !adopted || !seen.wanted || seen.excused || before.shutdown {
        return Ok(());
    }
    let this = stack.service_snapshot(service).unwrap();
    let tried = this.reason.is_some_and(|reason| reason.contains("started again 5 times"));
    let right = match seen.spec.restart {
        Restart::No => this.phase == Phase::Failed,
        Restart::OnFailure | Restart::Always => {
            this.phase == Phase::Backoff || (this.phase == Phase::Failed && tried)
        }
    };
    demand!(right, "replaced by policy", "`{service}` is {:?} after its end", this.phase);
    Ok(())
}
