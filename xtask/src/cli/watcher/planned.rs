//! The plan of a watcher: the services of its `up` and all that run, by today's metadata.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use xtask_control::StackPaths;
use xtask_core::manifest::Manifest;
use xtask_core::plan::{Cycles, KeptFlags, Plan, Planned, Request, WatchedFiles};
use xtask_core::problem::{Problem, Severity};
use xtask_core::terms::Name;

use xtask::cli::load;
use xtask::cli::up::watch::WatchSettings;
use xtask::view::problem::render;
use xtask::workspace::planning::{self, Scope};
use xtask::workspace::{self, WorkspaceFiles};

use crate::watch::sources::PackageFolder;

/// A plan, and what it was made of.
pub(super) struct WatchPlan {
    pub(super) plan: Plan,
    pub(super) files: WorkspaceFiles,
    pub(super) watch: WatchedFiles,
}

/// Why there is no plan.
pub(super) struct Mistake {
    /// In one line.
    pub(super) message: String,
    /// As a user reads it in a terminal.
    pub(super) text: String,
}

/// Plans the services of the command that started the watcher, and `running`. Names that the
/// metadata no longer declares are left out. It is about the whole stack: what is not declared is
/// stopped.
pub(super) fn plan(
    settings: &WatchSettings,
    paths: &StackPaths,
    flags: KeptFlags,
    running: Vec<Name>,
) -> Result<WatchPlan, Mistake> {
    let here = std::env::current_dir().map_err(|error| mistake(&error.into()))?;
    let manifest = settings.root.join("Cargo.toml");
    let read = workspace::read(&here, Some(&manifest));
    let (files, found) = read.map_err(|error| mistake(&error.into()))?;
    let mut request = load::request(paths, &settings.stack, &settings.services);
    request.cargo_args.clone_from(&settings.cargo_args);
    request.args.clone_from(&settings.args);
    request.args_for = settings.services.first().cloned();
    (request.kept, request.running) = (flags, running);
    if settings.relax_cycles {
        request.cycles = Cycles::Relax;
    }
    load::add_secret(&mut request, &files, paths).map_err(|error| mistake(&error))?;
    let make = |request: &Request| planning::plan(&files, found.clone(), request, Scope::Request);
    let names = make(&Request { services: Vec::new(), ..request.clone() });
    let declared: BTreeSet<&str> = names.services.iter().map(Name::as_str).collect();
    request.services.retain(|name| declared.contains(name.as_str()));
    if request.services.is_empty()
        && let Some(plan) = names.plan.as_ref().filter(|_| settings.services.is_empty())
    {
        request.services = plan.wanted.iter().map(ToString::to_string).collect();
    }
    if !request.args_for.as_deref().is_some_and(|name| declared.contains(name)) {
        (request.args, request.args_for) = (Vec::new(), None);
    }
    for name in request.running.iter().filter(|name| declared.contains(name.as_str())) {
        if !request.services.iter().any(|known| known == name.as_str()) {
            request.services.push(name.to_string());
        }
    }
    let Planned { plan, services, problems, watch, .. } = match request.services.is_empty() {
        true => names,
        false => make(&request),
    };
    let Some(mut plan) = plan else { return Err(mistakes(&files, &problems)) };
    plan.declared = Some(services.into_iter().collect());
    Ok(WatchPlan { plan, files, watch })
}

impl WatchPlan {
    /// The packages of the workspace.
    pub(super) fn packages(&self) -> Vec<PackageFolder> {
        let members = self.files.workspace.manifests.iter();
        let members = members.filter(|manifest| manifest.package.is_some());
        members
            .map(|manifest| PackageFolder {
                folder: PathBuf::from(&manifest.folder),
                has_build_script: has_build_script(manifest),
            })
            .collect()
    }
}

fn has_build_script(manifest: &Manifest) -> bool {
    let package = manifest.root.table("package");
    let is_named = package.is_some_and(|package| package.get("build").is_some());
    is_named || Path::new(&manifest.folder).join("build.rs").exists()
}

fn mistakes(files: &WorkspaceFiles, problems: &[Problem]) -> Mistake {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let errors: Vec<Problem> = errors.cloned().collect();
    let message = errors.first().map(|problem| problem.message.clone()).unwrap_or_default();
    let text = render(&errors, &|file| files.text(file));
    Mistake { message: format!("error: {message}"), text: text.trim_end().to_owned() }
}

fn mistake(error: &anyhow::Error) -> Mistake {
    let text = format!("error: {error:#}");
    let first = text.lines().next().unwrap_or_default().to_owned();
    Mistake { message: first, text }
}
