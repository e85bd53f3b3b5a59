//! From declarations and a request to a plan.
//!
//! Every service of the workspace is checked, whether it takes part or not, so each mistake
//! is reported at once. Only missing files and variables of the caller's machine are ignored
//! for services that do not take part.

use crate::sorted::{SortedMap, SortedSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use thiserror::Error;

use super::assemble::{self, Around};
use super::endpoint::{self, Endpoint};
use super::request::{Planned, Request, ShellOverride, WatchedFiles};
use super::scope::{Scope, Slot};
use super::select;
use super::{Plan, Service, build, flags, watch};
use crate::manifest::Declarations;
use crate::manifest::at::is_true;
use crate::model::{self, Model, Runs};
use crate::problem::{Code, Problem, Severity};
use crate::terms::{Name, Placement};

/// Reads a file by its absolute path.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<String, Unreadable>;

/// The problem of the program of a service on this machine, without its place.
pub type Programs<'a> = &'a dyn Fn(&Service, Checked) -> Option<Problem>;

/// What a machine checks of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The program of its command.
    Program,
    /// The account that runs it.
    Account,
}

/// Why a text file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// No file has this path.
    #[error("no such file")]
    Missing,
    /// A folder, pipe, socket or device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Longer than this many bytes.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// Not UTF-8; the name of the encoding that was found, if any.
    #[error("it is {}", .0.unwrap_or("not UTF-8"))]
    Encoding(Option<&'static str>),
    /// An error of the system.
    #[error("{0}")]
    System(String),
}

/// Makes the plan, or reports why there is none.
#[must_use]
pub fn make(declarations: &Declarations, request: &Request, files: Files<'_>) -> Planned {
    let mut problems = Vec::new();
    if declarations.sections.is_empty() && request.services.is_empty() {
        problems.push(no_services(Problem::error));
    }
    planned(declarations, request, files, None, problems)
}

/// The problem of a workspace without services.
fn no_services(severity: impl FnOnce(Code, &'static str) -> Problem) -> Problem {
    severity(Code::UnknownService, "this workspace declares no services")
        .hint("declare one: `[package.metadata.service]` in a member's `Cargo.toml`")
}

fn planned(
    declarations: &Declarations,
    request: &Request,
    files: Files<'_>,
    programs: Option<Programs<'_>>,
    mut problems: Vec<Problem>,
) -> Planned {
    let request = &request.kept.add_to(request, declarations);
    let (model, mut found) = model::build(declarations, &request.overlays);
    problems.append(&mut found);
    let wanted = select::wanted(declarations, &model, request, &mut problems);
    let default = select::default(declarations, &model);
    let all: Vec<Name> = model.nodes.iter().map(|node| node.name.clone()).collect();
    // With an unknown service nothing starts, and every service is checked.
    let known = request.services.iter().all(|name| model.node(name).is_some());
    let closure = select::closure(&model, if known { &wanted } else { &all });
    let graph = select::order(&model, &closure, request.cycles, &mut problems);
    let [outside, inside] = [Placement::Process, Placement::Container]
        .map(|caller| endpoints(declarations, &model, request, caller, &mut problems));
    let default = select::closure(&model, &default);
    // `check` looks at every service, but only some are wanted together.
    let together = if programs.is_some() { &default } else { &closure };
    let taking_part = outside.iter().filter(|(name, _)| closure.contains(*name));
    endpoint::check(&model, request, taking_part, together, &mut problems);
    model::clashes(&model, &closure, together, &mut problems);
    let variables = flags::variables(request, &model, &closure, &mut problems);
    flags::containers(request, &model, &mut problems);
    let args_for = flags::arguments_for(request, &model, &mut problems);
    let faults = flags::faults(request, &model, &closure, &mut problems);

    let read = RefCell::new(SortedSet::new());
    let recorded = |path: &str| {
        read.borrow_mut().insert(String::from(path));
        files(path)
    };
    let files: Files<'_> = &recorded;
    let mut patterns = SortedMap::new();
    let mut services: SortedMap<Name, Service> = SortedMap::new();
    let mut overridden: SortedMap<String, Vec<Name>> = SortedMap::new();
    for node in &model.nodes {
        let placement = endpoint::placement(node, request);
        let addresses = match placement {
            Placement::Process => &outside,
            Placement::Container => &inside,
        };
        let scope = Scope { declarations, model: &model, request, addresses, node };
        let around = Around {
            placement,
            outside: &outside,
            relaxed: &graph.relaxed,
            flags: &variables,
            args: match args_for == Some(&node.name) {
                true => &request.args,
                false => request.kept.arguments.get(&*node.name).map_or(&[], Vec::as_slice),
            },
            files,
        };
        let mut found = Vec::new();
        let (service, by_shell) = assemble::make(&scope, around, &mut found);
        let watched = watch::patterns(&scope, &mut found);
        if let Runs::Command(command) = &node.program
            && let Some(problem) = programs.and_then(|of| of(&service, Checked::Program))
        {
            found.push(problem.at(command[0].span.clone(), ""));
        }
        if let Some(user) = &node.settings.user
            && let Some(problem) = programs.and_then(|of| of(&service, Checked::Account))
        {
            found.push(problem.at(user.span.clone(), ""));
        }
        if closure.contains(&node.name) {
            for variable in by_shell {
                overridden.entry(variable).or_default().push(node.name.clone());
            }
            services.insert(node.name.clone(), service);
            if !watched.is_empty() {
                patterns.insert(node.name.clone(), watched);
            }
        } else {
            found.retain(|p| !matches!(p.code, Code::EnvFile | Code::UnsetVariable));
        }
        problems.append(&mut found);
    }
    let problems = tidy(problems);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    let plan = (!refused).then(|| Plan {
        version: Plan::VERSION,
        workspace: declarations.root.clone(),
        stack: request.stack.clone(),
        data: request.data.clone(),
        build: build::build(&model, &closure, &default, request),
        services: graph.order.iter().filter_map(|name| services.remove(name)).collect(),
        base_image: declarations.base_image.as_ref().map(|image| image.value.clone()),
        wanted,
        declared: request.services.is_empty().then(|| all.iter().cloned().collect()),
        replace: false,
        restart: Vec::new(),
        done: SortedSet::new(),
        context: 0,
        faults,
    });
    let notices = overridden
        .into_iter()
        .map(|(variable, services)| ShellOverride { variable, services })
        .collect();
    let by_default = is_true(&declarations.watch);
    let watch = WatchedFiles { by_default, patterns, read: read.take() };
    Planned { plan, services: all, problems, notices, repairs: graph.repairs, watch }
}

/// Checks everything that a workspace declares: all services, without overlays and
/// under each of them. The plan is the one of all services without overlays.
#[must_use]
pub fn check(
    declarations: &Declarations,
    request: &Request,
    files: Files<'_>,
    programs: Programs<'_>,
) -> Planned {
    let all = |with: &[String]| {
        let (model, _) = model::build(declarations, with);
        let services = model.nodes.iter().map(|node| String::from(node.name.as_str())).collect();
        let request = Request { services, overlays: with.to_vec(), ..request.clone() };
        planned(declarations, &request, files, Some(programs), Vec::new())
    };
    let mut out = all(&request.overlays);
    if declarations.sections.is_empty() {
        out.problems.push(no_services(Problem::warning));
    }
    for overlay in model::overlays(declarations) {
        let mut under = all(&[String::from(overlay)]);
        out.problems.append(&mut under.problems);
        for repair in under.repairs {
            if !out.repairs.contains(&repair) {
                out.repairs.push(repair);
            }
        }
    }
    out.problems = tidy(out.problems);
    if out.problems.iter().any(|problem| problem.severity == Severity::Error) {
        out.plan = None;
    }
    out
}

/// Reports the regular expressions of `log` probes in which `fault` finds a fault. The core has
/// no parser of its own.
#[must_use]
pub fn check_patterns(
    declarations: &Declarations,
    fault: &dyn Fn(&str) -> Option<String>,
) -> Vec<Problem> {
    let mut out = Vec::new();
    for section in &declarations.sections {
        let overlays = section.overlays.iter().map(|(_, settings)| settings);
        for settings in core::iter::once(&section.settings).chain(overlays) {
            let log = settings.ready.as_ref().and_then(|ready| ready.value.log.as_ref());
            if let Some((log, why)) = log.and_then(|log| Some((log, fault(&log.value)?))) {
                let message = alloc::format!("`{}` is not a regular expression", log.value);
                let problem = Problem::error(Code::BadValue, message).at(log.span.clone(), why);
                out.push(problem.hint("put `\\` before a character that is meant literally"));
            }
        }
    }
    out
}

/// The problems in order of place, each once.
#[must_use]
pub fn tidy(problems: Vec<Problem>) -> Vec<Problem> {
    let mut out: Vec<Problem> = Vec::new();
    for problem in problems {
        if !out.contains(&problem) {
            out.push(problem);
        }
    }
    out.sort_by_cached_key(|problem| {
        let span = problem.labels.first().map(|label| label.span.clone());
        let place = span.map(|span| (span.file, span.bytes.start, span.bytes.end));
        (place, problem.code, problem.message.clone())
    });
    out
}

/// The endpoint of every service as a caller in this placement sees it. A `url` is filled in
/// last, from the ports.
fn endpoints(
    declarations: &Declarations,
    model: &Model,
    request: &Request,
    caller: Placement,
    problems: &mut Vec<Problem>,
) -> SortedMap<Name, Endpoint> {
    let mut addresses: SortedMap<Name, Endpoint> = model
        .nodes
        .iter()
        .map(|node| (node.name.clone(), endpoint::endpoint(node, request, caller)))
        .collect();
    let mut urls = Vec::new();
    for node in &model.nodes {
        if let Some(url) = &node.settings.url {
            let scope = Scope { declarations, model, request, addresses: &addresses, node };
            urls.push((node.name.clone(), scope.fill(url, Slot::Url, problems).text));
        }
    }
    for (name, url) in urls {
        if let Some(address) = addresses.get_mut(&name) {
            address.url = Some(url);
        }
    }
    addresses
}
