//! Plans what the command line requests, and prints all problems of the metadata.

use std::io;
use std::path::Path;

use xtask_control::StackPaths;
use xtask_control::paths::DEFAULT_STACK;
use xtask_core::plan::{Isolation, KeptFlags, Plan, Planned, Request, WatchedFiles};
use xtask_core::problem::Problem;
use xtask_core::terms::Name;

use super::error::{Error, Failure};
use super::exit::Exit;
use super::{Global, block_on, place, print, stack};
use crate::session::connect;
use crate::system::argument_size::longest_text;
use crate::view::problem::{count, render};
use crate::view::style::{BOLD, RESET, WARN};
use crate::workspace::planning::Scope;
use crate::workspace::{self, WorkspaceFiles, planning, secret};

pub struct Loaded {
    pub plan: Plan,
    /// All services of the workspace, also those outside the plan.
    pub services: Vec<Name>,
    pub paths: StackPaths,
    pub files: WorkspaceFiles,
    /// The flags of earlier commands that this one adds to.
    pub kept: KeptFlags,
    /// What the metadata says about watching.
    pub watch: WatchedFiles,
}

/// The result of planning, with its problems.
pub struct Inspected {
    pub files: WorkspaceFiles,
    pub outcome: Planned,
    pub paths: StackPaths,
    pub kept: KeptFlags,
}

/// Plans what the command line requests; `shape` adds the options of the command. Prints the
/// problems, and fails if one of them is an error.
pub fn plan(
    global: &Global,
    services: &[String],
    shape: impl Fn(&mut Request),
) -> anyhow::Result<Loaded> {
    accept(inspect(global, services, Scope::Request, shape)?)
}

/// As [`plan`], and without named services also what the stack runs already.
pub fn plan_running(
    global: &Global,
    services: &[String],
    shape: impl Fn(&mut Request),
) -> anyhow::Result<Loaded> {
    accept(inspect_with(global, services, Scope::Request, &shape, Known::Services)?)
}

/// As [`plan_running`], with the flags that the stack was started with.
pub fn plan_kept(
    global: &Global,
    services: &[String],
    shape: impl Fn(&mut Request),
) -> anyhow::Result<Loaded> {
    accept(inspect_kept(global, services, Scope::Request, shape)?)
}

/// Prints the problems and returns the plan if there is one.
pub fn accept(inspected: Inspected) -> anyhow::Result<Loaded> {
    let Inspected { files, outcome, paths, kept } = inspected;
    show_problems(&files, &outcome.problems);
    let Planned { plan, services, problems, notices, watch, .. } = outcome;
    let Some(plan) = plan else {
        print::line(&format!("{BOLD}{}{RESET}", count(&problems)));
        return Err(Error::Reported(Exit::USAGE).into());
    };
    for notice in notices {
        let services: Vec<&str> = notice.services.iter().map(|name| name.as_str()).collect();
        let text = format!("`{}` of {} comes from the shell", notice.variable, services.join(", "));
        print::progress(WARN, "Note", &text);
    }
    Ok(Loaded { plan, services, paths, files, kept, watch })
}

/// As [`plan`], but prints nothing and accepts problems.
///
/// # Errors
/// [`workspace::Error`] if cargo finds no workspace.
pub fn inspect(
    global: &Global,
    services: &[String],
    scope: Scope<'_>,
    shape: impl Fn(&mut Request),
) -> anyhow::Result<Inspected> {
    inspect_with(global, services, scope, &shape, Known::Nothing)
}

/// As [`inspect`], with the flags that the stack was started with. Call it outside of a runtime.
pub(crate) fn inspect_kept(
    global: &Global,
    services: &[String],
    scope: Scope<'_>,
    shape: impl Fn(&mut Request),
) -> anyhow::Result<Inspected> {
    inspect_with(global, services, scope, &shape, Known::ServicesAndFlags)
}

/// What a plan knows of the running stack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Services,
    ServicesAndFlags,
}

fn inspect_with(
    global: &Global,
    services: &[String],
    scope: Scope<'_>,
    shape: &dyn Fn(&mut Request),
    known: Known,
) -> anyhow::Result<Inspected> {
    let here = place::current_folder()?;
    let (files, found) = workspace::read(&here, global.manifest_path.as_deref())?;
    let root = Path::new(&files.workspace.root);
    let paths = StackPaths::of(root, &global.stack).map_err(Error::StateFolder)?;
    stack::clean_up(&paths)?;
    let is_isolated = global.stack != DEFAULT_STACK;
    let mut request = request(&paths, &global.stack, services);
    shape(&mut request);
    let is_own = is_isolated || request.isolation == Isolation::Shared;
    if known != Known::Nothing && is_own {
        let state = block_on(async {
            Ok(connect::kept_flags(&paths, || stack::report_silence(&paths)).await?)
        })?;
        let (flags, running) = state.unwrap_or_default();
        request.running = running;
        if known == Known::ServicesAndFlags {
            request.kept = flags;
        }
    }
    add_secret(&mut request, &files, &paths)?;
    let outcome = planning::plan(&files, found, &request, scope);
    Ok(Inspected { files, outcome, paths, kept: request.kept })
}

/// The request of a command without options, for services of a stack.
pub fn request(paths: &StackPaths, stack: &str, services: &[String]) -> Request {
    let is_isolated = stack != DEFAULT_STACK;
    Request {
        stack: stack.to_owned(),
        isolation: if is_isolated { Isolation::Isolated } else { Isolation::Shared },
        data: paths.data().display().to_string(),
        services: services.to_vec(),
        shell: planning::shell(),
        longest_text: longest_text(),
        ..Request::default()
    }
}

/// Adds the secret of the stack, if a manifest uses it.
pub fn add_secret(
    request: &mut Request,
    files: &WorkspaceFiles,
    paths: &StackPaths,
) -> anyhow::Result<()> {
    if files.workspace.manifests.iter().any(|manifest| manifest.text.contains("${stack.secret}")) {
        let exported = request.isolation == Isolation::Elsewhere;
        request.secret = secret::of(paths, exported).map_err(|error| no_secret(paths, error))?;
    }
    Ok(())
}

/// The error, and the way out if the file with the random bytes is wrong.
fn no_secret(paths: &StackPaths, error: io::Error) -> Failure {
    let file = secret::file(paths);
    let kind = error.kind();
    let failure = Failure::new(Exit::FAILED, "failed to make the secret of the stack").cause(error);
    match kind {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::PermissionDenied => failure.hint(format!(
            "remove `{}`: the next start makes another secret, and stored passwords no longer fit",
            file.display()
        )),
        _ => failure.hint(format!("the tool must be able to write `{}`", file.display())),
    }
}

/// Prints problems as rustc does.
pub fn show_problems(files: &WorkspaceFiles, problems: &[Problem]) {
    if problems.is_empty() {
        return;
    }
    print::line(render(problems, &|file| files.text(file)).trim_end_matches('\n'));
    print::line("");
}
