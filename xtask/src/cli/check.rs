//! `check`: reports every problem of the metadata, under every overlay, and repairs cycles.
//!
//! It builds and starts nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::iter;
use std::path::{Path, PathBuf};

use clap::Args;
use xtask_core::plan::{Checked, Program, Request, Service};
use xtask_core::problem::{Code, Problem, Severity};

use xtask::cli::error::Failure;
use xtask::cli::plan_args::StackArgs;
use xtask::cli::{Exit, Global, load, print};
use xtask::system::account::to_become;
use xtask::system::executable::fault_of;
use xtask::system::port_range;
use xtask::view::problem::{ProblemJson, count, json};
use xtask::view::style::{BOLD, GOOD, RESET, WARN};
use xtask::view::words;
use xtask::workspace;
use xtask::workspace::planning::Scope;

use crate::workspace::edit;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Break cycles: move the smallest set of edges from `depends-on` to `uses`
    #[arg(long)]
    fix: bool,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackArgs,
}

pub(crate) fn run(global: &Global, args: &CheckArgs) -> anyhow::Result<Exit> {
    let shape = |request: &mut Request| {
        args.stack.shape(request);
        request.outgoing_ports = port_range::outgoing();
    };
    let inspect =
        || load::inspect(global, &[], Scope::Everything { programs: &machine_problem }, shape);
    let mut inspected = match inspect() {
        Err(error) if args.json && error.is::<workspace::Error>() => {
            print::json_pretty(&[ProblemJson::of_cargo(&error.to_string())])?;
            return Err(error);
        }
        inspected => inspected?,
    };
    if args.fix {
        let root = PathBuf::from(&inspected.files.workspace.root);
        // Each round leaves fewer names in `depends-on`: an edge that two tables declare shows
        // the second one when the first is moved.
        while !inspected.outcome.repairs.is_empty() {
            let applied = edit::apply(&root, &inspected.outcome.repairs).map_err(unrepaired)?;
            for line in applied.moved {
                print::progress(GOOD, "Changed", &line);
            }
            for edit in &applied.unwritten {
                print::line(&format!(
                    "{WARN}warning{RESET}{BOLD}: `{}` is not changed: the repair would lose a \
                     comment{RESET}\n{}  {BOLD}hint:{RESET} make this change by hand and keep the \
                     comment, then run `%xtask% check --fix` again\n",
                    edit.file.display(),
                    edit.diff(),
                ));
            }
            inspected = inspect()?;
            if !applied.unwritten.is_empty() {
                break;
            }
        }
    }
    let problems = &inspected.outcome.problems;
    if args.json {
        print::json_pretty(&json(problems, &|file| inspected.files.text(file)))?;
    } else {
        load::show_problems(&inspected.files, problems);
        print::out(&format!("{}\n", count(problems)))?;
        let services = inspected.outcome.plan.iter().flat_map(|plan| &plan.services);
        print::out(&replacements(services))?;
    }
    let has_errors = problems.iter().any(|problem| problem.severity == Severity::Error);
    if !args.json {
        print::hint(match (has_errors, inspected.outcome.services.is_empty()) {
            (true, _) => "`%xtask% explain CODE` describes the code in brackets with examples",
            (false, true) => "`%xtask% init` proposes metadata for the programs of this workspace",
            (false, false) => "`%xtask% up` starts the services",
        });
    }
    Ok(if has_errors { Exit::USAGE } else { Exit::DONE })
}

fn unrepaired(error: edit::Error) -> Failure {
    let hint = error.hint();
    let failure = Failure::new(Exit::FAILED, "failed to repair the cycle").cause(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// How an edit or `restart` replaces each service that has callers.
fn replacements<'a>(services: impl Iterator<Item = &'a Service>) -> String {
    let mut ways: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for service in services {
        if let Some(way) = words::replacement(service) {
            ways.entry(way).or_default().push(service.name.as_str());
        }
    }
    let heading = if ways.is_empty() { "" } else { "An edit or `restart` replaces:\n" };
    let lines = ways.iter().map(|(way, names)| format!("  {}: {way}\n", names.join(", ")));
    iter::once(heading.to_owned()).chain(lines).collect()
}

/// Why this machine cannot execute the command of a service. A missing program is a warning: a job
/// may create it, and other machines may have it.
fn machine_problem(service: &Service, checked: Checked) -> Option<Problem> {
    match checked {
        Checked::Program => program_problem(service),
        Checked::Account => {
            let error = to_become(service.user.as_deref()?).err()?;
            Some(Problem::error(Code::BadValue, error.to_string()).hint(error.hint()))
        }
    }
}

fn program_problem(service: &Service) -> Option<Problem> {
    let Program::Command { program } = &service.program else { return None };
    let name = program.value.to_string();
    let shell = std::env::var_os("PATH");
    let own = service.env.get("PATH").map(|path| OsString::from(path.value.to_string()));
    let fault = fault_of(&name, own.or(shell).as_deref(), Path::new(&service.cwd))?;
    let severity = if fault.absent { Problem::warning } else { Problem::error };
    let message = format!("`{name}` cannot be executed: {}", fault.cause);
    Some(severity(Code::BadValue, message).hint(fault.edit))
}
