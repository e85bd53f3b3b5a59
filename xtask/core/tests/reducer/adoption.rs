//! Port holders: adopted, refused, or stopped on request.

use std::time::Duration;

use xtask_core::plan::{Probe, Service, Source, Text};
use xtask_core::snapshot::{Failure, Phase};
use xtask_core::stack::event::{InspectedHolder, InspectionResult, PortHolder, StartedBy};
use xtask_core::stack::{BindFailure, Effect, Event, Exit, Signal};
use xtask_core::terms::{Adopt, Restart};

use crate::scenario::Scenario;
use crate::support::{self, GRACE, With, service};

const PID: u32 = 7;

/// A service that can be replaced by a process that a user started.
fn adopting() -> Service {
    service("a").built().port(Some(5000)).activated().adopts(Adopt::SameBinary)
}

fn holder(program: &str) -> PortHolder {
    let program = program.to_owned();
    PortHolder {
        pid: PID,
        command: program.clone(),
        program,
        user: "ada".to_owned(),
        connection: None,
        stack: None,
    }
}

/// A process of the same program, with these variables.
fn copy(variables: &[(&str, &str)]) -> InspectedHolder {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    InspectedHolder {
        holder: holder("/target/debug/a"),
        age: Duration::from_secs(180),
        same: true,
        deleted: false,
        args: Vec::new(),
        variables: Some(variables.iter().map(text).collect()),
        elsewhere: Vec::new(),
        started_by: StartedBy::Hand,
    }
}

impl Scenario {
    fn held(&mut self, name: &str, program: &str) {
        let failure =
            BindFailure::Held { port: 5000, holder: Some(Box::new(holder(program))), user: None };
        self.event(Event::BindFailed { service: name.into(), failure, others: Vec::new() });
    }

    fn looked(&mut self, name: &str, found: InspectedHolder) {
        let result = InspectionResult::Process(Box::new(found));
        self.event(Event::HolderInspected { service: name.into(), result });
    }

    /// All events up to an inspection with this result.
    fn find(&mut self, found: InspectedHolder) {
        self.held("a", "/target/debug/a");
        self.linked_at("a", "/target/debug/a");
        self.accepted("a", 1);
        assert!(self.effects.iter().any(|effect| matches!(effect, Effect::InspectHolder { .. })));
        self.looked("a", found);
    }

    fn linked_at(&mut self, name: &str, path: &str) {
        self.event(Event::Linked { service: name.into(), program: path.to_owned().into() });
    }

    fn adopts(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Adopt { pid: PID, .. }))
    }

    fn signals(&self) -> Vec<&Signal> {
        let mut signals = Vec::new();
        for effect in &self.all {
            if let Effect::Signal { signal, .. } = effect {
                signals.push(signal);
            }
        }
        signals
    }

    /// The process exists and accepts connections.
    fn is_used(&mut self) {
        self.event(Event::Started { service: "a".into(), run: self.run("a"), pid: PID });
        for probe in 0..2 {
            self.pass_probe("a", probe);
        }
        assert_eq!(self.phase("a"), Phase::Ready);
    }
}

#[test]
fn holder_is_inspected_once_the_program_is_built() {
    let mut s = Scenario::of([adopting(), service("b").needs("a")]);
    s.held("a", "/target/debug/a");
    assert_eq!(s.phase("a"), Phase::Building, "its program is not known yet");
    s.built("a", 1);
    let Some(Effect::InspectHolder { expected: Some(expected), .. }) =
        s.effects.iter().find(|effect| matches!(effect, Effect::InspectHolder { .. }))
    else {
        panic!("{:?}", s.effects)
    };
    assert_eq!(expected.program, "/kept/a-1");
    s.looked("a", copy(&[]));
    assert!(s.adopts());
    assert_eq!(s.spawned(), [""; 0]);
    s.event(Event::Started { service: "a".into(), run: 1, pid: PID });
    s.pass_probe("a", 0);
    let a = s.snapshot("a");
    assert!(a.adopted && a.phase == Phase::Ready && a.pid == Some(PID), "{a:?}");
    assert_eq!(a.ports, [("http".to_owned(), 5000)].into());
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn foreign_holder_fails_the_service_before_its_build() {
    let mut s = Scenario::of([adopting()]);
    s.held("a", "/usr/bin/python3");
    assert_eq!(s.failure("a"), Some(Failure::Port));
    assert!(s.reason("a").contains("pid 7") && s.reason("a").contains("ada"));
}

#[test]
fn holder_that_the_inspection_misses_is_refused() {
    let mut s = Scenario::of([adopting()]);
    s.linked_at("a", "/target/debug/a");
    s.accepted("a", 1);
    let nothing = || Event::HolderInspected { service: "a".into(), result: InspectionResult::Free };
    for _ in 0..2 {
        s.held("a", "/target/debug/a");
        s.event(nothing());
        assert_eq!(s.asked_ports(), ["a"], "the process may have ended");
        s.held("a", "/target/debug/a");
        assert_eq!((s.failure("a"), s.asked_ports()), (Some(Failure::Port), vec![]));
        assert!(s.reason("a").contains("pid 7"), "{}", s.reason("a"));
        s.restart(&["a"]);
        assert_eq!(s.asked_ports(), ["a"]);
    }
    s.held("a", "/target/debug/a");
    s.event(nothing());
    s.bind("a", &[5000]);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn same_name_in_another_folder_is_another_program() {
    let mut s = Scenario::of([adopting()]);
    let elsewhere = InspectedHolder { same: false, holder: holder("/usr/bin/a"), ..copy(&[]) };
    s.find(elsewhere);
    assert_eq!(s.failure("a"), Some(Failure::Port));
    let mut plan = support::plan([adopting()]);
    plan.replace = true;
    s.event(Event::Apply { plan });
    s.built("a", 1);
    s.held("a", "/usr/bin/a");
    s.looked("a", InspectedHolder { same: false, holder: holder("/usr/bin/a"), ..copy(&[]) });
    assert_eq!(s.failure("a"), Some(Failure::Port));
    assert_eq!(s.signals(), [&Signal::Kill; 0]);
}

#[test]
fn adoption_compares_only_variables_with_locations() {
    let with = || {
        let mut a = adopting().using("b").calls("B_PORT", "b");
        a.env.insert("RUST_LOG".to_owned(), support::setting("info".into()));
        a.env.insert("DATA".to_owned(), support::setting("/data/a".into()));
        [a, service("b").port(Some(6000))]
    };
    let mut s = Scenario::of(with());
    s.bind("b", &[6000]);
    s.find(copy(&[("B_PORT", "6000"), ("DATA", "/data/a")]));
    assert!(s.adopts());

    let mut s = Scenario::of(with());
    s.bind("b", &[6000]);
    s.find(copy(&[("B_PORT", "6001")]));
    assert_eq!(s.failure("a"), Some(Failure::Unadopted));
    let reason = s.reason("a");
    assert!(reason.contains("`B_PORT` is `6001` instead of `6000`"), "{reason}");
    assert!(reason.contains("`DATA` is not set"), "{reason}");
    assert!(!reason.contains("RUST_LOG"), "{reason}");
}

/// `a` with the injected addresses of `b`.
fn with_injected_addresses() -> [Service; 2] {
    let mut a = adopting().using("b").calls("B_PORT", "b").calls("B_URL", "b");
    let mut url = Text::from("http://127.0.0.1:");
    url.push_port("b".into(), 0);
    a.env.get_mut("B_URL").unwrap().value = url;
    a.env.insert("B_HOST".to_owned(), support::setting("127.0.0.1".into()));
    a.env.values_mut().for_each(|setting| setting.source = Source::Injected);
    [a, service("b").port(Some(6000))]
}

#[test]
fn adoption_accepts_whole_addresses_and_parts() {
    let found = |variables: &[(&str, &str)]| {
        let mut s = Scenario::of(with_injected_addresses());
        s.bind("b", &[6000]);
        s.find(copy(variables));
        match s.adopts() {
            true => String::new(),
            false => s.reason("a").rsplit("settings: ").next().unwrap().to_owned(),
        }
    };
    let (url, host, port) =
        (("B_URL", "http://127.0.0.1:6000"), ("B_HOST", "127.0.0.1"), ("B_PORT", "6000"));
    assert_eq!(found(&[url]), "");
    assert_eq!(found(&[host, port]), "");
    assert_eq!(found(&[url, host, port]), "");

    let no_url = "`B_URL` is not set to `http://127.0.0.1:6000`";
    for missing in [&[][..], &[host], &[port]] {
        assert_eq!(found(missing), no_url, "{missing:?}");
    }
    assert_eq!(found(&[url, ("B_HOST", "::1")]), "`B_HOST` is `::1` instead of `127.0.0.1`");
    let elsewhere = found(&[("B_URL", "http://127.0.0.1:7000"), host, port]);
    assert_eq!(elsewhere, "`B_URL` is `http://127.0.0.1:7000` instead of `http://127.0.0.1:6000`");
}

#[test]
fn secrets_are_masked_where_they_differ() {
    let mut a = adopting();
    let mut url = support::setting("db://u:hunter2@h/x".into());
    url.secret = true;
    a.env.insert("DB".to_owned(), url);
    let mut s = Scenario::of([a]);
    s.find(copy(&[("DB", "db://u:other3@h/x")]));
    let reason = s.reason("a");
    assert!(reason.contains("`DB` is `********` instead of `********`"), "{reason}");
}

#[test]
fn holder_from_another_build_is_refused_with_its_age() {
    let mut s = Scenario::of([adopting()]);
    s.find(InspectedHolder { same: false, deleted: true, ..copy(&[]) });
    assert_eq!(s.failure("a"), Some(Failure::Unadopted));
    let reason = s.reason("a");
    assert!(reason.contains("pid 7") && reason.contains("running for 3 min"), "{reason}");
    assert!(reason.contains("another build"), "{reason}");
}

#[test]
fn adopted_process_gets_no_signal() {
    for end in [Event::Shutdown, Event::KillNow] {
        let mut s = Scenario::of([adopting()]);
        s.find(copy(&[]));
        s.is_used();
        s.restart(&["a"]);
        assert_eq!((s.run("a"), s.phase("a")), (1, Phase::Ready));
        s.take_down(&["a"]);
        assert!(s.effects.iter().any(|effect| matches!(effect, Effect::Release { .. })));
        assert_eq!(s.phase("a"), Phase::Stopped);
        s.event(end);
        assert_eq!((s.ends(), s.signals()), (1, vec![]));
    }
}

#[test]
fn run_replaces_an_adopted_process_that_exits() {
    let mut s = Scenario::of([adopting()]);
    s.find(copy(&[]));
    s.is_used();
    s.exited("a", Exit::Unknown);
    assert_eq!(s.phase("a"), Phase::Backoff);
    s.pass(Duration::from_secs(1));
    assert_eq!(s.asked_ports(), ["a"], "the ports are requested again");
    s.bind("a", &[5000]);
    assert_eq!(s.spawned(), ["a"]);
    assert!(!s.snapshot("a").adopted);

    let mut s = Scenario::of([adopting().policy(Restart::No)]);
    s.find(copy(&[]));
    s.is_used();
    s.exited("a", Exit::Unknown);
    assert_eq!(s.failure("a"), Some(Failure::Died));
}

#[test]
fn replaced_run_gets_its_full_stop_timeout() {
    let mut s = Scenario::of([adopting()]);
    s.find(copy(&[]));
    s.is_used();
    s.event(Event::Replace { services: vec!["a".into()] });
    assert_eq!(s.asked_ports(), ["a"]);
    s.held("a", "/target/debug/a");
    s.looked("a", copy(&[]));
    assert!(s.adopts());
    assert_eq!(s.phase("a"), Phase::Stopping);
    s.event(Event::Started { service: "a".into(), run: s.run("a"), pid: PID });
    assert_eq!(s.signalled(), ["a"]);
    s.pass(GRACE);
    assert_eq!(s.killed(), ["a"]);
    s.end("a", Exit::Unknown);
    s.bind("a", &[5000]);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn one_request_stops_a_limited_number_of_holders() {
    let mut plan = support::plan([adopting()]);
    plan.replace = true;
    let mut s = Scenario::of([]);
    s.event(Event::Apply { plan });
    s.built("a", 1);
    let mut stopped = 0;
    while s.failure("a").is_none() {
        s.held("a", "/target/debug/a");
        s.looked("a", InspectedHolder { elsewhere: vec![1], ..copy(&[]) });
        if s.failure("a").is_none() {
            s.event(Event::Started { service: "a".into(), run: s.run("a"), pid: PID });
            s.end("a", Exit::Unknown);
            stopped += 1;
        }
        assert!(stopped < 20);
    }
    assert_eq!(stopped, 8);
}

#[test]
fn take_down_cancels_a_replacement() {
    let mut plan = support::plan([adopting()]);
    plan.replace = true;
    let mut s = Scenario::of([]);
    s.event(Event::Apply { plan });
    s.built("a", 1);
    s.held("a", "/target/debug/a");
    s.take_down(&["a"]);
    s.looked("a", copy(&[]));
    assert_eq!((s.phase("a"), s.signals()), (Phase::Stopped, vec![]));
}

#[test]
fn service_of_another_stack_is_left_running() {
    let mut plan = support::plan([adopting()]);
    plan.replace = true;
    let mut s = Scenario::of([]);
    s.event(Event::Apply { plan });
    s.built("a", 1);
    s.held("a", "/target/debug/a");
    s.looked("a", InspectedHolder { started_by: StartedBy::OtherStack, ..copy(&[]) });
    assert_eq!((s.failure("a"), s.signals()), (Some(Failure::Port), vec![]));
}

#[test]
fn process_of_another_user_is_a_stranger() {
    let found = || InspectedHolder { started_by: StartedBy::OtherUser, ..copy(&[]) };
    for replace in [false, true] {
        let mut plan = support::plan([adopting()]);
        plan.replace = replace;
        let mut s = Scenario::of([]);
        s.event(Event::Apply { plan });
        s.built("a", 1);
        s.held("a", "/target/debug/a");
        s.looked("a", found());
        assert_eq!((s.failure("a"), s.signals()), (Some(Failure::Port), vec![]));
    }
    let mut s = Scenario::of([service("a").port(Some(5000)).adopts(Adopt::Any)]);
    s.held("a", "/usr/bin/python3");
    s.looked("a", found());
    assert!(s.adopts(), "a database of the machine may belong to another user");
}

#[test]
fn adopt_any_accepts_every_holder_that_passes_probes() {
    let http = Probe::Http { path: "/".to_owned(), status: vec![200], port: 0 };
    let a = || service("a").port(Some(5000)).adopts(Adopt::Any).probe(http.clone());
    let mut s = Scenario::of([a()]);
    s.held("a", "/usr/bin/python3");
    s.looked("a", InspectedHolder { same: false, holder: holder("/usr/bin/python3"), ..copy(&[]) });
    assert!(s.adopts());
    s.event(Event::Started { service: "a".into(), run: 1, pid: PID });
    s.pass(support::START);
    assert_eq!(s.failure("a"), Some(Failure::Port));
    assert!(s.reason("a").contains("pid 7") && s.reason("a").contains("GET /"));

    let mut s = Scenario::of([a()]);
    let failure = BindFailure::Held { port: 5000, holder: None, user: Some("ada".to_owned()) };
    s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    s.pass_probe("a", 0);
    assert!(s.snapshot("a").adopted && s.phase("a") == Phase::Ready);
}

#[test]
fn new_program_or_address_repeats_the_inspection() {
    let with = |number| {
        [adopting().using("b").calls("B_PORT", "b"), service("b").external().port(Some(number))]
    };
    let mut s = Scenario::of(with(6000));
    s.find(copy(&[("B_PORT", "6000")]));
    s.is_used();
    s.apply(with(6000));
    s.built("a", 1);
    assert_eq!(s.already(), ["a"]);
    s.apply(with(6001));
    s.built("a", 1);
    assert_eq!(s.asked_ports(), ["a"]);
    s.held("a", "/target/debug/a");
    s.looked("a", copy(&[("B_PORT", "6000")]));
    assert_eq!((s.failure("a"), s.signals()), (Some(Failure::Unadopted), vec![]));
}

#[test]
fn hidden_holder_is_reported_with_its_user() {
    let mut s = Scenario::of([adopting()]);
    let failure = BindFailure::Held { port: 5000, holder: None, user: Some("ada".to_owned()) };
    s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    assert!(s.reason("a").starts_with("port 5000 is held by a program of user ada"));
}

#[test]
fn new_address_after_adoption_restarts_dependents() {
    let on = |number| {
        let mut a = adopting();
        a.ports[0].number = Some(number);
        [a, service("b").needs("a").calls("A_PORT", "a")]
    };
    let mut s = Scenario::of(on(5000));
    s.find(copy(&[]));
    s.is_used();
    s.start("b");
    s.apply(on(6000));
    s.built("a", 1);
    s.ports_checked("a", Vec::new());
    assert_eq!(s.asked_ports(), ["a"]);
    s.bind("a", &[6000]);
    assert_eq!((s.spawned(), s.signalled()), (vec!["a".to_owned()], vec!["b".to_owned()]));
}

#[test]
fn callers_of_an_adopted_run_get_its_address() {
    let on = |number| {
        let mut a = adopting();
        a.ports[0].number = Some(number);
        [a, service("b").using("a").calls("A_PORT", "a")]
    };
    let mut s = Scenario::of(on(5000));
    s.find(copy(&[]));
    s.is_used();
    s.apply(on(6000));
    s.event(Event::BuildEnded { ok: false });
    s.restart(&["b"]);
    s.end("b", Exit::Signal(15));
    let env = s.effects.iter().find_map(|effect| match effect {
        Effect::Spawn { command, .. } => Some(command.env.clone()),
        _ => None,
    });
    assert_eq!(env.unwrap(), [("A_PORT".to_owned(), "5000".to_owned())]);
}

#[test]
fn unrenderable_command_fails_despite_a_port_holder() {
    let caller = service("a").port(Some(5000)).adopts(Adopt::SameBinary).calls("B", "b");
    let mut s = Scenario::of([caller, service("b")]);
    s.held("a", "/bin/a");
    assert_eq!((s.phase("a"), s.failure("a")), (Phase::Failed, Some(Failure::Start)));
}

#[test]
fn service_that_became_a_job_adopts_no_process() {
    let mut s = Scenario::of([adopting()]);
    s.held("a", "/target/debug/a");
    s.linked_at("a", "/target/debug/a");
    s.accepted("a", 1);
    s.apply([adopting().job()]);
    s.accepted("a", 1);
    s.looked("a", copy(&[]));
    assert!(!s.adopts());
    assert_eq!((s.phase("a"), s.failure("a")), (Phase::Failed, Some(Failure::Port)));
}

#[test]
fn restart_reverts_take_down_of_adopted_process() {
    let mut s = Scenario::of([adopting(), service("b").needs("a")]);
    s.find(copy(&[]));
    s.is_used();
    s.start("b");
    s.take_down(&["a"]);
    s.built("a", 1);
    assert_eq!((s.signalled(), s.already()), (vec![], vec![]));
    s.restart(&["a"]);
    assert_eq!((s.already(), s.phase("b")), (vec!["a".to_owned()], Phase::Stopping));
}
