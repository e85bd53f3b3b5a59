//! From the command line to a plan, for every command that needs one.
//!
//! It prints what is wrong with the metadata, all of it at once, and knows the exit
//! code for that. What is wrong is found elsewhere.

use std::path::Path;

use anyhow::Context;
use xtask_client::StackPaths;
use xtask_client::paths::DEFAULT_STACK;
use xtask_core::plan::{Isolation, Outcome, Plan, Request};
use xtask_core::problem::Problem;

use super::exit::Exit;
use super::plan_args::PlanArgs;
use super::{Global, locate, print};
use crate::view::problem::{count, render};
use crate::view::style::{BOLD, RESET, WARN};
use crate::workspace::planning::Scope;
use crate::workspace::{self, WorkspaceFiles, planning};

/// A plan, and what it was made from.
pub(crate) struct Loaded {
    /// The plan.
    pub(crate) plan: Plan,
    /// Where its stack keeps its files.
    pub(crate) paths: StackPaths,
    /// The workspace as it lies on the disk.
    pub(crate) files: WorkspaceFiles,
}

/// Everything that was found out about a workspace, with or without a plan.
pub(crate) struct Looked {
    /// The workspace as it lies on the disk.
    pub(crate) files: WorkspaceFiles,
    /// What planning ended in.
    pub(crate) outcome: Outcome,
    /// Where the stack keeps its files.
    pub(crate) paths: StackPaths,
}

/// Plans what the command line wants; `shape` adds what only some commands take. Problems are
/// printed; errors among them are an exit code in place of the plan.
///
/// # Errors
/// What the system says.
pub(crate) fn plan(
    global: &Global,
    args: &PlanArgs,
    services: &[String],
    shape: impl FnOnce(&mut Request),
) -> anyhow::Result<Result<Loaded, Exit>> {
    Ok(accept(look(global, args, services, Scope::Request, shape)?))
}

/// Shows what was found, and takes the plan if there is one.
fn accept(looked: Looked) -> Result<Loaded, Exit> {
    let Looked { files, outcome, paths } = looked;
    show_problems(&files, &outcome.problems);
    let Outcome { plan, problems, notices, .. } = outcome;
    let Some(plan) = plan else {
        print::tell(&format!("{BOLD}{}{RESET}", count(&problems)));
        return Err(Exit::USAGE);
    };
    for notice in notices {
        let services: Vec<&str> = notice.services.iter().map(|name| name.as_str()).collect();
        let text = format!("`{}` of {} comes from the shell", notice.variable, services.join(", "));
        print::say(WARN, "Note", &text);
    }
    Ok(Loaded { plan, paths, files })
}

/// As [`plan`], for every service that is declared.
///
/// # Errors
/// What the system says.
pub(crate) fn everything(
    global: &Global,
    args: &PlanArgs,
    shape: impl FnOnce(&mut Request),
) -> anyhow::Result<Result<Loaded, Exit>> {
    Ok(accept(look(global, args, &[], Scope::Everything, shape)?))
}

/// As [`plan`], but prints nothing of what it found, and takes it as it is.
///
/// # Errors
/// What the system says, and [`workspace::Error`](crate::workspace::Error) where cargo
/// finds no workspace.
pub(crate) fn look(
    global: &Global,
    args: &PlanArgs,
    services: &[String],
    scope: Scope,
    shape: impl FnOnce(&mut Request),
) -> anyhow::Result<Looked> {
    let here = std::env::current_dir().context("this folder is not there any more")?;
    let (files, found) = workspace::read(&here, global.manifest_path.as_deref())?;
    let root = Path::new(&files.workspace.root);
    locate::clean_up(root)?;
    let paths = StackPaths::of(root, &global.stack)?;
    let mut request = request(global, services, &paths);
    args.shape(&mut request);
    shape(&mut request);
    let outcome = planning::plan(&files, found, &request, scope);
    Ok(Looked { files, outcome, paths })
}

/// Prints problems as rustc does, and how many there are.
pub(crate) fn show_problems(files: &WorkspaceFiles, problems: &[Problem]) {
    if problems.is_empty() {
        return;
    }
    print::tell(render(problems, &|file| files.text(file)).trim_end_matches('\n'));
    print::tell("");
}

/// What is asked for where nothing more is said.
fn request(global: &Global, services: &[String], paths: &StackPaths) -> Request {
    let apart = global.stack != DEFAULT_STACK;
    Request {
        stack: global.stack.clone(),
        isolation: if apart { Isolation::Isolated } else { Isolation::Shared },
        data: paths.data().display().to_string(),
        services: services.to_vec(),
        shell: planning::shell(),
        ..Request::default()
    }
}
