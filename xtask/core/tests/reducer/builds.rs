//! Builds: programs that are linked, accepted, or fail.

use xtask_core::plan::Probe;
use xtask_core::snapshot::{Failure, Phase, State};
use xtask_core::stack::{Artifact, Effect, Event, Exit, LinkedProgram};

use crate::scenario::Scenario;
use crate::support::{With, service};

#[test]
fn service_starts_when_its_program_is_accepted() {
    let mut s = Scenario::of([service("a").built(), service("b").built()]);
    assert_eq!((s.phase("a"), s.phase("b")), (Phase::Building, Phase::Building));
    s.linked("b");
    let program = "/target/b".to_owned().into();
    let accept = Effect::Accept { service: "b".into(), program, image: None };
    assert_eq!(s.effects, [accept]);
    s.accepted("b", 1);
    assert_eq!(s.spawned(), ["b"]);
    assert_eq!(s.phase("a"), Phase::Building);
}

#[test]
fn building_is_reported_before_waiting() {
    let mut s = Scenario::of([service("a"), service("b").built().needs("a")]);
    assert_eq!(s.phase("b"), Phase::Building);
    s.built("b", 1);
    assert_eq!(s.phase("b"), Phase::Waiting);
    s.start("a");
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn unlinked_program_fails_when_cargo_exits() {
    let mut s =
        Scenario::of([service("a").built(), service("b").built().needs("a"), service("c").built()]);
    s.built("b", 1);
    s.linked("c");
    s.event(Event::BuildEnded { ok: false });
    assert_eq!(s.failure("a"), Some(Failure::Build));
    assert_eq!(s.failure("b"), Some(Failure::Dependency));
    assert_eq!(s.phase("c"), Phase::Building, "linked, and still to be kept");
    s.accepted("c", 1);
    assert_eq!(s.spawned(), ["c"]);
}

#[test]
fn interrupted_build_is_no_failed_one() {
    let mut s = Scenario::of([service("a").built(), service("b").built()]);
    s.built("b", 1);
    s.event(Event::BuildInterrupted);
    assert_eq!((s.failure("a"), s.failure("b")), (Some(Failure::Build), None));
    let interrupted =
        "the build of its program was interrupted; `%xtask% up --stack dev a` builds it";
    assert_eq!(s.reason("a"), interrupted);
    s.apply([service("a").built(), service("b").built()]);
    s.event(Event::BuildEnded { ok: false });
    let failed = "its program could not be built; `%xtask% up --stack dev a` shows why";
    assert_eq!(s.reason("a"), failed);
}

#[test]
fn equal_program_and_settings_keep_the_run() {
    let mut s = Scenario::up([service("a").built(), service("b")]);
    s.apply([service("a").built(), service("b")]);
    assert_eq!(s.already(), ["b"]);
    assert_eq!(s.state(), State::Working, "the program of `a` may still change");
    s.built("a", 1);
    assert_eq!(s.already(), ["a"]);
    assert_eq!((s.run("a"), s.run("b")), (1, 1));
    assert_eq!(s.state(), State::Ready);
}

#[test]
fn moved_program_keeps_the_run_until_its_next_start() {
    let mut s = Scenario::up([service("a").built()]);
    s.apply([service("a").built()]);
    s.linked("a");
    let library_path = vec!["/target/lib".to_owned()];
    let linked = LinkedProgram { path: "/elsewhere/a".to_owned(), library_path };
    let (path, content) = ("/kept/a-1".to_owned(), 1);
    let artifact = Artifact { path, linked: linked.clone(), content, image: None };
    s.event(Event::Accepted { service: "a".into(), artifact });
    assert_eq!((s.already(), s.run("a")), (vec!["a".to_owned()], 1));

    s.restart(&["a"]);
    s.end("a", Exit::Signal(15));
    let started = s.effects.iter().find_map(|effect| match effect {
        Effect::Spawn { command, .. } => command.linked.clone(),
        _ => None,
    });
    assert_eq!(started, Some(linked));
}

#[test]
fn changed_program_replaces_the_run() {
    let mut s = Scenario::up([service("a").built()]);
    s.apply([service("a").built()]);
    assert_eq!(s.signalled(), [""; 0]);
    s.built("a", 2);
    assert_eq!(s.signalled(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
    assert_eq!(s.run("a"), 2);
}

#[test]
fn changed_settings_replace_the_run() {
    let mut s = Scenario::up([service("a").built(), service("b")]);
    s.apply([service("a").built().arg("-v"), service("b").arg("-v")]);
    assert_eq!(s.signalled(), ["b"]);
    s.built("a", 1);
    assert_eq!(s.signalled(), ["a"]);
}

#[test]
fn changed_probes_and_policies_keep_the_run() {
    let mut s = Scenario::up([service("a")]);
    s.apply([service("a").probe(Probe::Notify).policy(xtask_core::terms::Restart::Always)]);
    assert_eq!(s.already(), ["a"]);
    s.end("a", Exit::Code(0));
    assert_eq!(s.phase("a"), Phase::Backoff, "the new policy holds");
}

#[test]
fn failed_build_keeps_the_run() {
    let mut s = Scenario::up([service("a").built(), service("b").needs("a")]);
    s.apply([service("a").built(), service("b").needs("a")]);
    s.event(Event::BuildFailed { service: "a".into(), message: "does not compile".to_owned() });
    assert_eq!((s.phase("a"), s.phase("b")), (Phase::Ready, Phase::Ready));
    assert!(s.reason("a").contains("does not compile"));
    s.crash("a");
    s.pass(core::time::Duration::from_secs(1));
    assert_eq!(s.spawned(), ["a"], "started again from the accepted build");
}

#[test]
fn restart_uses_the_accepted_build_during_a_build() {
    let mut s = Scenario::up([service("a").built()]);
    s.apply([service("a").built()]);
    s.restart(&["a"]);
    s.end("a", Exit::Signal(15));
    let command = s.effects.iter().find_map(|effect| match effect {
        Effect::Spawn { command, .. } => Some(command.program.clone()),
        _ => None,
    });
    assert_eq!(command.as_deref(), Some("/kept/a-1"));
}

#[test]
fn failed_dependent_waits_again_for_a_rebuilt_dependency() {
    let mut s = Scenario::of([service("a").built(), service("b").needs("a")]);
    s.event(Event::BuildEnded { ok: false });
    assert_eq!(s.failure("b"), Some(Failure::Dependency));
    s.built("a", 1);
    assert_eq!(s.phase("b"), Phase::Waiting);
    s.start("a");
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn job_reruns_only_for_a_changed_program() {
    let mut s = Scenario::up([service("job").built().job(), service("a").needs("job")]);
    let again = || [service("job").built().job(), service("a").needs("job")];
    s.apply(again());
    assert_eq!(s.phase("job"), Phase::Succeeded);
    s.built("job", 1);
    assert_eq!((s.run("job"), s.spawned().len()), (1, 0));
    s.apply(again());
    s.built("job", 2);
    assert_eq!(s.spawned(), ["job"]);
    assert_eq!(s.phase("a"), Phase::Ready);
}

#[test]
fn dependent_waits_for_the_rebuilt_job() {
    let mut s = Scenario::up([service("job").built().job(), service("a").needs("job")]);
    s.take_down(&["a"]);
    s.end("a", Exit::Signal(15));
    s.apply([service("job").built().job(), service("a").needs("job")]);
    assert_eq!(s.phase("a"), Phase::Waiting);
    s.built("job", 2);
    s.start("job");
    s.end("job", Exit::Code(0));
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn failed_build_of_a_new_job_fails_its_dependents() {
    let mut s = Scenario::up([service("a").built()]);
    s.apply([service("a").built().job(), service("b").needs("a")]);
    s.event(Event::BuildEnded { ok: false });
    assert_eq!((s.phase("a"), s.failure("b")), (Phase::Ready, Some(Failure::Dependency)));
}

#[test]
fn starting_run_keeps_its_kind() {
    let mut s = Scenario::of([service("a").built().probe(Probe::Notify)]);
    s.built("a", 1);
    s.apply([service("a").built().probe(Probe::Notify).job()]);
    s.start("a");
    s.event(Event::BuildEnded { ok: false });
    s.pass_probe("a", 0);
    assert_eq!(s.phase("a"), Phase::Ready, "what cannot become a job runs on as a service");
}
