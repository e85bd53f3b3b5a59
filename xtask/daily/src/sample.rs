//! Snapshots to test views with.

use std::time::Duration;
use xtask_core::sorted::SortedMap;

use xtask_core::plan::{Dependency, Plan, Program, Service, Stop};
use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot, State};
use xtask_core::terms::{Adopt, Condition, Kind, Place, Restart};

/// A stack of these services.
pub(crate) fn snapshot(services: Vec<ServiceSnapshot>) -> Snapshot {
    Snapshot {
        stack: "dev".to_string(),
        workspace: "/shop".to_string(),
        supervisor_pid: 1,
        guardian_pid: None,
        tool: None,
        held: false,
        watch: None,
        state: State::Working,
        services,
        kept_flags: None,
        deadlocks: Vec::new(),
    }
}

/// A service in a phase, with nothing else to tell.
pub(crate) fn service(name: &str, phase: Phase) -> ServiceSnapshot {
    ServiceSnapshot {
        name: name.into(),
        kind: Kind::Service,
        phase,
        placement: xtask_core::terms::Placement::Process,
        wanted: true,
        reason: None,
        failure: None,
        waiting_on: Vec::new(),
        pid: None,
        candidate: None,
        stopping: None,
        adopted: false,
        run: 1,
        started: true,
        url: None,
        open: None,
        ports: SortedMap::new(),
        ready_ms: None,
        ready_at_ms: None,
        restarts: 0,
        seen: Vec::new(),
        callers_waiting: None,
        calls: Vec::new(),
        listens_elsewhere: Vec::new(),
        strangers: Vec::new(),
        program: None,
        newer_source: None,
        uptime_ms: None,
        memory_bytes: None,
        comes_back: true,
        unsettled: false,
        paused: false,
        status: None,
        log_trouble: None,
        depends_on: Vec::new(),
        uses: Vec::new(),
    }
}

/// A plan of services without programs, each with what it depends on.
pub(crate) fn plan(services: &[(&str, &[&str])]) -> Plan {
    let declared = Place { file: "Cargo.toml".to_string(), line: 1 };
    let edge = |on: &&str| Dependency {
        on: (*on).into(),
        condition: Condition::Ready,
        restart: false,
        declared: declared.clone(),
    };
    let with_edges = |(name, on): &(&str, &[&str])| Service {
        depends_on: on.iter().map(edge).collect(),
        ..planned(name)
    };
    plan_of(services.iter().map(with_edges).collect())
}

/// A planned service that has nothing.
pub(crate) fn planned(name: &str) -> Service {
    Service {
        name: name.into(),
        kind: Kind::Service,
        once: false,
        declared: Place { file: "Cargo.toml".to_string(), line: 1 },
        program: Program::External,
        args: Vec::new(),
        env: SortedMap::new(),
        cwd: String::new(),
        user: None,
        manifest_dir: None,
        ports: Vec::new(),
        default_port: None,
        url: None,
        fixed_port: false,
        socket_activation: false,
        depends_on: Vec::new(),
        uses: Vec::new(),
        probes: Vec::new(),
        health: None,
        watchdog: None,
        placement: xtask_core::terms::Placement::Process,
        volumes: Vec::new(),
        open: None,
        self_probe: Vec::new(),
        deploy: Default::default(),
        log: Default::default(),
        restart: Restart::No,
        stop: Stop { signal: "SIGTERM".to_string(), timeout: Duration::from_secs(1) },
        start_timeout: Duration::from_secs(1),
        adopt: Adopt::Never,
    }
}

/// A plan of these services.
pub(crate) fn plan_of(services: Vec<Service>) -> Plan {
    Plan {
        version: Plan::VERSION,
        workspace: "/shop".to_string(),
        stack: "dev".to_string(),
        data: "/data".to_string(),
        build: None,
        services,
        base_image: None,
        faults: xtask_core::plan::Faults::default(),
        wanted: Vec::new(),
        declared: None,
        replace: false,
        restart: Vec::new(),
        done: Default::default(),
        context: 0,
    }
}
