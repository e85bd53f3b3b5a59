//! Properties of reading manifests and planning, checked for many generated workspaces.
//!
//! The tool's tests check each message. These tests check what holds for every workspace.
//! `XTASK_SEEDS` sets the number of workspaces.

#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub, reason = "the tool exports it")]
#[path = "../../../daily/src/workspace/document.rs"]
mod document;
mod examples;
mod reference;
mod workspaces;

use std::collections::BTreeSet;

use workspaces::{Random, invalid, valid};
use xtask_core::manifest::{self, Workspace};
use xtask_core::plan::{
    self, Isolation, Piece, Plan, Planned, Ports, Probe, Request, Text, Unreadable,
};
use xtask_core::problem::Severity;

fn seeds() -> u64 {
    std::env::var("XTASK_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

#[test]
fn invalid_workspace_is_reported_without_panic() {
    let mut plans: u64 = 0;
    for seed in 0..seeds() {
        let mut random = Random::new(seed);
        let workspace = invalid(&mut random);
        let (declarations, problems) = manifest::read(&workspace);
        let request = request(&mut random);
        for outcome in [
            plan::make(&declarations, &request, &file),
            plan::check(&declarations, &request, &file, &|_, _| None),
        ] {
            let all = problems.iter().chain(&outcome.problems);
            for label in all.flat_map(|problem| &problem.labels) {
                let manifest = workspace.manifests.iter().find(|m| m.file == label.span.file);
                let text = manifest.map_or(FILE, |manifest| &manifest.text);
                assert!(label.span.bytes.end <= text.len(), "seed {seed}: {label:?}");
            }
            let refused = outcome.problems.iter().any(|p| p.severity == Severity::Error);
            assert_eq!(outcome.plan.is_none(), refused, "seed {seed}");
            if let Some(plan) = &outcome.plan {
                plans += 1;
                is_consistent(plan, seed);
            }
        }
    }
    assert!(plans > seeds() / 20, "only {plans} plans were made");
}

#[test]
fn valid_workspace_becomes_an_ordered_plan() {
    for seed in 0..seeds() {
        let workspace = valid(&mut Random::new(seed));
        let outcome = planned(&workspace, &Request { stack: "dev".into(), ..Request::default() });
        let plan = outcome.plan.unwrap_or_else(|| panic!("seed {seed}: {:?}", outcome.problems));
        is_consistent(&plan, seed);
        let mut before: BTreeSet<&str> = BTreeSet::new();
        for service in &plan.services {
            for edge in &service.depends_on {
                assert!(
                    before.contains(&*edge.on),
                    "seed {seed}: {} before its {}",
                    service.name,
                    edge.on
                );
            }
            before.insert(&service.name);
        }
    }
}

#[test]
fn same_workspace_gives_same_plan() {
    for seed in 0..seeds() / 10 {
        let workspace = valid(&mut Random::new(seed));
        let request = Request::default();
        let (first, again) = (planned(&workspace, &request), planned(&workspace, &request));
        assert_eq!(first.plan, again.plan, "seed {seed}");
    }
}

#[test]
fn isolated_stack_ignores_shell_and_fixed_ports() {
    for seed in 0..seeds() / 10 {
        let workspace = valid(&mut Random::new(seed));
        let shell = [("LEVEL", "shell"), ("PORT", "1"), ("HOST", "x")];
        let request = Request {
            isolation: Isolation::Isolated,
            shell: shell.map(|(name, value)| (name.into(), value.into())).into(),
            ..Request::default()
        };
        let outcome = planned(&workspace, &request);
        assert!(outcome.notices.is_empty());
        let plan = outcome.plan.unwrap();
        for service in &plan.services {
            assert!(service.ports.iter().all(|port| port.number.is_none()), "seed {seed}");
            let from_shell = |text: &Text| matches!(text.to_string().as_str(), "shell" | "1" | "x");
            assert!(!service.env.values().any(|setting| from_shell(&setting.value)), "seed {seed}");
        }
    }
}

/// Checks that a plan has what the supervisor relies on.
fn is_consistent(plan: &Plan, seed: u64) {
    let port = |name: &str, index: usize| plan.service(name).and_then(|s| s.ports.get(index));
    let assert_ports = |text: &Text| {
        for piece in &text.pieces {
            if let Piece::Port { service, port: index } = piece {
                assert!(port(service, *index).is_some(), "seed {seed}: no {service}.{index}");
            }
        }
    };
    for service in &plan.services {
        for name in service.edges() {
            assert!(plan.service(name).is_some(), "seed {seed}: `{name}` is missing");
        }
        service.env.values().chain(&service.args).for_each(|setting| assert_ports(&setting.value));
        service.url.iter().for_each(assert_ports);
        assert!(service.default_port.is_none_or(|index| index < service.ports.len()));
        assert!(service.cwd.starts_with('/'), "seed {seed}: {}", service.cwd);
        for probe in &service.probes {
            match probe {
                Probe::Http { port, status, .. } => {
                    assert!(*port < service.ports.len() && !status.is_empty(), "seed {seed}");
                }
                Probe::Tcp { port } => assert!(*port < service.ports.len(), "seed {seed}"),
                Probe::Command { command } => command.iter().for_each(assert_ports),
                Probe::Notify | Probe::Log { .. } => {}
            }
        }
    }
    for wanted in &plan.wanted {
        assert!(plan.service(wanted).is_some(), "seed {seed}: `{wanted}` is missing");
    }
}

/// The text of every file that exists.
const FILE: &str = "LEVEL=file\nwhat is this\nA='b\n";

fn file(path: &str) -> Result<String, Unreadable> {
    let missing = path.ends_with("missing");
    if missing { Err(Unreadable::Missing) } else { Ok(FILE.into()) }
}

fn planned(workspace: &Workspace, request: &Request) -> Planned {
    let (declarations, problems) = manifest::read(workspace);
    assert_eq!(problems, []);
    plan::make(&declarations, request, &file)
}

fn request(random: &mut Random) -> Request {
    let words = |random: &mut Random, of: &[&str]| -> Vec<String> {
        (0..random.below(3)).map(|_| random.pick(of).to_string()).collect()
    };
    if random.chance(2) {
        return Request { stack: "dev".into(), data: "/data".into(), ..Request::default() };
    }
    Request {
        stack: "dev".into(),
        data: "/data".into(),
        isolation: if random.chance(2) { Isolation::Shared } else { Isolation::Isolated },
        ports: if random.chance(2) { Ports::Auto } else { Ports::Declared },
        services: words(random, workspaces::NAMES),
        overlays: words(random, &["a", "with", "unknown"]),
        variables: words(random, &["A=1", "a:LEVEL=2", "=", "", ":", "a:", "b:=", "LEVEL"]),
        args: words(random, &["--flag", "--token=x", ""]),
        shell: [("LEVEL".to_string(), "shell".to_string())].into(),
        ..Request::default()
    }
}
