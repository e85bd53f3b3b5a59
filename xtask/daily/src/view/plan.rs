//! The plan as `--dry-run` shows it, as text or as documented JSON.

use std::fmt::Write as _;

use serde::Serialize;
use xtask_core::plan::{Build, Plan, Target};
use xtask_core::terms::Name;

use super::service_json::ServiceJson;
use super::setting::Values;
use super::words;

/// A plan as `--dry-run --json` shows it. Keys may be added; `version` changes when one is removed
/// or changes its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PlanJson {
    version: u32,
    /// The workspace root, absolute.
    workspace: String,
    stack: String,
    /// The stack's data folder, absolute.
    data: String,
    /// Base image of built programs, null for none.
    base_image: Option<String>,
    /// The requested services, or the default ones.
    wanted: Vec<Name>,
    /// The cargo call, null if there is nothing to build.
    build: Option<BuildJson>,
    /// Rings: groups of services that start together, because each reaches the others through
    /// `depends-on` and `uses`.
    together: Vec<Vec<Name>>,
    /// Every service and job of the plan, dependencies first, ties by name.
    services: Vec<ServiceJson>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct BuildJson {
    /// Program and arguments, without those that set the message format.
    command: Vec<String>,
    targets: Vec<TargetJson>,
}

/// A binary and the services that run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TargetJson {
    package: String,
    binary: String,
    services: Vec<Name>,
}

/// The plan as JSON data, with masked secrets.
pub(crate) fn json(plan: &Plan) -> PlanJson {
    let values = Values { plan, running: None };
    PlanJson {
        version: Plan::VERSION,
        workspace: plan.workspace.clone(),
        stack: plan.stack.clone(),
        data: plan.data.clone(),
        base_image: plan.base_image.clone(),
        wanted: plan.wanted.clone(),
        build: plan.build.as_ref().map(build),
        together: plan
            .rings()
            .into_iter()
            .map(|ring| ring.into_iter().cloned().collect())
            .collect(),
        services: plan.services.iter().map(|s| ServiceJson::new(&values, s)).collect(),
    }
}

fn build(build: &Build) -> BuildJson {
    let target = |target: &Target| TargetJson {
        package: target.package.clone(),
        binary: target.binary.clone(),
        services: target.services.clone(),
    };
    let words = ["cargo", "build"].map(str::to_owned).into_iter();
    BuildJson {
        command: words.chain(build.args.iter().cloned()).collect(),
        targets: build.targets.iter().map(target).collect(),
    }
}

/// The plan as text: the build, then every service in start order.
pub(crate) fn text(plan: &Plan) -> String {
    let values = Values { plan, running: None };
    let mut out = String::new();
    let _ = writeln!(out, "stack {} with data in {}", plan.stack, plan.data);
    if let Some(build) = &plan.build {
        let _ = writeln!(out, "build: cargo build {}", build.args.join(" "));
    }
    for ring in plan.rings() {
        let _ =
            writeln!(out, "start together: {}", words::list(ring.iter().map(ToString::to_string)));
    }
    for service in &plan.services {
        let kind = words::kind(service.kind);
        let _ = writeln!(out, "\n{} ({kind}, {})", service.name, service.declared);
        let mut line = |label: &str, value: String| {
            if !value.is_empty() {
                let _ = writeln!(out, "  {label:<12} {}", words::within(&value));
            }
        };
        line("runs", words::command(&values, service));
        line("in", service.cwd.clone());
        line("address", service.url.as_ref().map(|url| values.text(url)).unwrap_or_default());
        line("waits for", words::list(service.depends_on.iter().map(words::dependency)));
        line("uses", words::list(service.uses.iter().map(|edge| edge.of.to_string())));
        line("ready when", words::ready(&values, service));
        line("healthy when", words::health(&values, service).unwrap_or_default());
        for (index, (name, setting)) in service.env.iter().enumerate() {
            let label = if index == 0 { "variables" } else { "" };
            line(label, format!("{name}={}", values.setting(setting)));
        }
    }
    out
}
