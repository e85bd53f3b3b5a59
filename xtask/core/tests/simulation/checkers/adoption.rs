//! Only a port holder that matches its service is adopted, and it gets a signal only if a request
//! evicts it.
//!
//! That no run of the stack serves beside it is checked in `bring_up`.

use std::time::Duration;

use xtask_core::plan::Program;
use xtask_core::snapshot::Phase;
use xtask_core::stack::event::{InspectedHolder, StartedBy};
use xtask_core::stack::{Command, Effect, Event, Exit, Stack};
use xtask_core::terms::{Adopt, Restart};

use super::service::{Origin, ServiceHistory};
use super::{History, Verdict, bring_up, demand, take_down};

/// Checks an effect before it is recorded.
pub(super) fn check(history: &History, now: Duration, effect: &Effect) -> Verdict {
    match effect {
        Effect::Adopt { service: name, run, pid, command, .. } => {
            let service = &history.services[name];
            bring_up::one_run(service, now, *run)?;
            bring_up::conditions(history, service)?;
            let inspected = service.holder.as_ref().filter(|found| found.holder.pid == *pid);
            let Some(holder) = inspected else {
                demand!(false, "adoption", "`{name}` adopts {pid}, which was not inspected");
                return Ok(());
            };
            match origin(service, holder) {
                Origin::Adopted => similarity(service, holder, command),
                Origin::Spawned | Origin::External | Origin::Evicted => Ok(()),
            }
        }
        Effect::Signal { service: name, run: number, signal } => {
            let run = history.services[name].run.as_ref().filter(|run| run.number == *number);
            let adopted = run.is_some_and(|run| run.origin == Origin::Adopted);
            demand!(!adopted, "no signal", "`{name}` is adopted and gets {signal:?}");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What the adoption of a port holder makes of it.
pub(super) fn origin(service: &ServiceHistory, found: &InspectedHolder) -> Origin {
    let foreign = matches!(found.started_by, StartedBy::OtherStack | StartedBy::OtherUser);
    if service.replace_requested && runs_the_program(service, found) && !foreign {
        Origin::Evicted
    } else {
        Origin::Adopted
    }
}

fn runs_the_program(service: &ServiceHistory, found: &InspectedHolder) -> bool {
    let args: Vec<String> = service.spec.args.iter().map(|arg| arg.value.to_string()).collect();
    match &service.spec.program {
        Program::Artifact { binary, .. } => {
            found.same || found.holder.program == format!("/target/debug/{binary}")
        }
        _ => {
            let is_build = found.holder.program.ends_with(&format!("/{}", service.spec.name));
            found.args == args && (found.same || (found.deleted && is_build))
        }
    }
}

/// It runs the same program at the same address, or the metadata accepts any process.
fn similarity(service: &ServiceHistory, found: &InspectedHolder, command: &Command) -> Verdict {
    let name = &service.spec.name;
    if service.spec.adopt == Adopt::Any {
        return Ok(());
    }
    demand!(
        service.spec.adopt == Adopt::SameBinary,
        "adoption",
        "`{name}` adopts against its metadata"
    );
    demand!(found.same, "same program", "`{name}` adopts another program");
    demand!(
        found.started_by == StartedBy::Hand,
        "adoption",
        "`{name}` adopts a process of a stack"
    );
    demand!(
        found.elsewhere.is_empty(),
        "same address",
        "`{name}` adopts a process with other ports"
    );
    for variable in service.spec.edges().map(|name| name.to_uppercase()) {
        let Some((_, wanted)) = command.env.iter().find(|(name, _)| *name == variable) else {
            continue;
        };
        let has = found.variables.as_ref().and_then(|all| all.get(&variable));
        demand!(has == Some(wanted), "same address", "`{name}` adopts with {variable} {has:?}");
    }
    Ok(())
}

/// After an adopted process ends, the restart policy decides whether a run replaces it.
pub(super) fn replaced(before: &History, stack: &Stack, event: &Event) -> Verdict {
    let Event::Exited { service: name, run: number, exit: Exit::Unknown, clue: None } = event
    else {
        return Ok(());
    };
    let Some(service) = before.services.get(name) else { return Ok(()) };
    let adopted = service.run.as_ref().is_some_and(|run| {
        let present = run.number == *number && run.started && run.exit.is_none();
        present && run.origin == Origin::Adopted
    });
    let requested = take_down::calls_for_new_run(before, service);
    if !adopted || !service.wanted || requested || before.shutdown {
        return Ok(());
    }
    let this = stack.service_snapshot(name).unwrap();
    let tried = this.reason.is_some_and(|reason| reason.contains("started again 5 times"));
    let right = match service.spec.restart {
        Restart::No => this.phase == Phase::Failed,
        Restart::OnFailure | Restart::Always => {
            this.phase == Phase::Backoff || (this.phase == Phase::Failed && tried)
        }
    };
    demand!(right, "replaced by policy", "`{name}` is {:?} after its end", this.phase);
    Ok(())
}
