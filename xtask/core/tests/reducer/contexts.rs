//! In which context a run starts, and when a plan asks for a new run.

use xtask_core::plan::{Plan, Probe, Service};
use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Event, Exit};

use crate::scenario::Scenario;
use crate::support::{self, With, service};

fn plan(context: u64, services: impl Into<Vec<Service>>) -> Plan {
    Plan { context, ..support::plan(services) }
}

impl Scenario {
    /// The context of the last run of a service that was spawned.
    fn context_of(&self, name: &str) -> u64 {
        let spawned = self.all.iter().rev().find_map(|effect| match effect {
            Effect::Spawn { service, command, .. } if **service == *name => Some(command.context),
            _ => None,
        });
        spawned.unwrap_or_else(|| panic!("`{name}` was not spawned"))
    }

    fn up_from(&mut self, context: u64, services: impl Into<Vec<Service>>) {
        self.event(Event::Apply { plan: plan(context, services) });
        self.let_it_happen();
    }

    /// The service crashes, and its next run starts after the pause.
    fn crash_and_return(&mut self, name: &str) {
        self.crash(name);
        self.pass(core::time::Duration::from_secs(5));
        self.let_it_happen();
    }

    /// The run of a service ends as its stop signal asked for.
    fn stops(&mut self, name: &str) {
        self.end(name, Exit::Code(0));
        self.let_it_happen();
    }
}

#[test]
fn run_starts_in_the_context_of_its_command() {
    let mut s = Scenario::of([]);
    s.up_from(1, [service("a")]);
    s.up_from(2, [service("b")]);
    assert_eq!((s.context_of("a"), s.context_of("b")), (1, 2));
}

#[test]
fn crash_restarts_in_the_context_of_the_run() {
    let mut s = Scenario::of([]);
    s.up_from(1, [service("a")]);
    s.up_from(2, [service("a"), service("b")]);
    assert_eq!(s.run("a"), 1, "another context replaces nothing");
    s.crash_and_return("a");
    assert_eq!((s.run("a"), s.context_of("a")), (2, 1));
}

#[test]
fn repeated_run_keeps_its_context() {
    let mut s = Scenario::of([]);
    s.up_from(1, [service("a")]);
    s.up_from(2, [service("a")]);
    s.restart(&["a"]);
    s.stops("a");
    assert_eq!((s.run("a"), s.context_of("a")), (2, 1));
}

#[test]
fn changed_service_gets_the_context_of_the_change() {
    let mut s = Scenario::of([]);
    s.up_from(1, [service("a")]);
    s.up_from(2, [service("a").arg("new")]);
    s.stops("a");
    assert_eq!((s.run("a"), s.context_of("a")), (2, 2));
    s.crash_and_return("a");
    assert_eq!((s.run("a"), s.context_of("a")), (3, 2));
}

#[test]
fn service_restarted_along_gets_the_same_context() {
    let with = |a: Service| [a, service("b").restarts_with("a")];
    let mut s = Scenario::of([]);
    s.up_from(1, with(service("a")));
    s.up_from(2, with(service("a").arg("new")));
    s.stops("b");
    s.stops("a");
    assert_eq!((s.run("b"), s.context_of("b")), (2, 2));
}

#[test]
fn failed_build_keeps_the_context_of_the_run() {
    let mut s = Scenario::of([]);
    s.event(Event::Apply { plan: plan(1, [service("a").built()]) });
    s.built("a", 1);
    s.start("a");
    s.event(Event::Apply { plan: plan(2, [service("a").built()]) });
    s.event(Event::BuildEnded { ok: false });
    s.crash("a");
    s.pass(core::time::Duration::from_secs(5));
    assert_eq!((s.run("a"), s.context_of("a")), (2, 1));
}

#[test]
fn shell_value_of_a_declared_variable_replaces_nothing() {
    let with = |shell: Option<&str>| {
        let mut a = service("a");
        let mut level = support::setting("info".into());
        level.declared = Some("info".into());
        level.resolve(shell);
        a.env.insert("LEVEL".to_owned(), level);
        [a]
    };
    let mut s = Scenario::of([]);
    s.up_from(1, with(Some("debug")));
    s.up_from(2, with(None));
    assert_eq!((s.run("a"), s.signalled()), (1, vec![]));
    let Some(Effect::Spawn { command, .. }) =
        s.all.iter().find(|effect| matches!(effect, Effect::Spawn { .. }))
    else {
        panic!("{:?}", s.all)
    };
    assert_eq!(command.env, [("LEVEL".to_owned(), "info".to_owned())]);
    assert_eq!(command.shell_wins, ["LEVEL"]);
}

#[test]
fn requested_restart_replaces_an_unchanged_run() {
    let mut s = Scenario::of([]);
    s.up_from(1, [service("a"), service("b").needs("a")]);
    let restart = vec!["a".into()];
    s.event(Event::Apply { plan: Plan { restart, ..plan(2, [service("a")]) } });
    assert_eq!((s.signalled(), s.phase("b")), (vec!["a".to_owned()], Phase::Ready));
    s.stops("a");
    assert_eq!((s.run("a"), s.run("b"), s.context_of("a")), (2, 1, 2));
}

#[test]
fn requested_restart_waits_for_its_program() {
    let mut s = Scenario::up([service("a").built()]);
    let restart = || vec!["a".into()];
    s.event(Event::Apply { plan: Plan { restart: restart(), ..plan(2, [service("a").built()]) } });
    assert_eq!(s.signalled(), [""; 0]);
    s.built("a", 1);
    assert_eq!(s.signalled(), ["a"]);
    s.stops("a");
    assert_eq!(s.run("a"), 2);

    s.event(Event::Apply { plan: Plan { restart: restart(), ..plan(3, [service("a").built()]) } });
    s.event(Event::BuildFailed { service: "a".into(), message: "no image".to_owned() });
    assert_eq!((s.signalled(), s.phase("a")), (vec![], Phase::Ready));
}

#[test]
fn failed_candidate_leaves_a_later_plan_its_context() {
    let a = || service("a").built().port(Some(5000)).activated().probe(Probe::Notify);
    let mut s = Scenario::of([]);
    s.event(Event::Apply { plan: plan(1, [a()]) });
    s.built("a", 1);
    s.let_it_happen();
    s.event(Event::Apply { plan: plan(2, [a()]) });
    s.built("a", 2);
    assert_eq!((s.candidate("a"), s.context_of("a")), (Some(2), 2));
    s.event(Event::Apply { plan: plan(3, [a()]) });
    s.event(Event::StartFailed { service: "a".into(), run: 2, error: "no file".to_owned() });
    s.built("a", 3);
    assert_eq!((s.candidate("a"), s.context_of("a")), (Some(3), 3));
}
