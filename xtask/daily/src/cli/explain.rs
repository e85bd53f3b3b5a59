//! `explain`: every setting of a service and its source, and its state if it runs; or what the code
//! of a problem means.
//!
//! A running service is shown with the values that its process got. What differs from the present
//! metadata is marked.

use std::path::Path;

use clap_builder::{Arg, ArgMatches, Command};
use xtask_control::protocol::Ask;
use xtask_core::problem::Code;
use xtask_core::terms::Name;
use xtask_core::terms::suggest::nearest;

use super::arguments::{Arguments, flag, required};
use super::error::{Error, Failure};
use super::exit::Exit;
use super::plan_args::StackArgs;
use super::{Global, block_on, load, print, stack};
use crate::session::{connect, find};
use crate::view::explain::{json, render};
use crate::view::problem::meaning;
use crate::workspace::planning::Scope;

pub(crate) struct ExplainArgs {
    service: String,
    json: bool,
    stack: StackArgs,
}

impl Arguments for ExplainArgs {
    fn add(command: Command) -> Command {
        let service = Arg::new("service")
            .value_name("SERVICE|CODE")
            .help("The service to explain, or the code of a problem, such as `cycle`")
            .required(true);
        let json = flag("json", "Print the planned service and its state as JSON");
        StackArgs::add(command.args([service, json]))
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            service: required(matches, "service"),
            json: matches.get_flag("json"),
            stack: StackArgs::read(matches),
        }
    }
}

pub(crate) fn run(global: &Global, args: &ExplainArgs) -> anyhow::Result<Exit> {
    if let Some(code) = code_of(global, &args.service) {
        print::out(&meaning(code))?;
        return Ok(Exit::DONE);
    }
    if let Some(meant) = mistyped_code(global, &args.service) {
        let message = format!("no service and no problem code is called `{}`", args.service);
        let hint = format!("did you mean `%xtask% explain {meant}`?");
        return Err(Failure::new(Exit::USAGE, message).hint(hint).into());
    }
    let services = std::slice::from_ref(&args.service);
    let loaded = load::plan_kept(global, services, |request| args.stack.shape(request))?;
    // A renamed workspace may have a stack that runs since before.
    let found = find::at(Path::new(&loaded.plan.workspace), &loaded.plan.stack);
    let paths = found.map_err(Error::StateFolder)?.paths;
    let (running, run) = block_on(async {
        let running = stack::status(&paths, Ask::No).await?;
        let name = Name::from(args.service.as_str());
        let is_known = running.as_ref().is_some_and(|running| running.service(&name).is_some());
        let run = match is_known {
            true => connect::started_as(&paths, &name).await?,
            false => None,
        };
        Ok((running, run))
    })?;
    let (running, run) = (running.as_ref(), run.as_ref());
    if args.json {
        if let Some(explained) = json(&loaded.plan, &args.service, running, run) {
            print::json_pretty(&explained)?;
        }
    } else if let Some(text) = render(&loaded.plan, &args.service, running, run) {
        print::out(&text)?;
    }
    Ok(Exit::DONE)
}

/// The code of this name, unless a service of the workspace has it too. It is known without a
/// workspace.
fn code_of(global: &Global, name: &str) -> Option<Code> {
    let code = name.parse().ok()?;
    services(global).iter().all(|service| service.as_str() != name).then_some(code)
}

/// The code that the name was most likely meant to be, unless a service is as near.
fn mistyped_code(global: &Global, name: &str) -> Option<Code> {
    let codes = || Code::ALL.iter().map(|code| code.as_str());
    nearest(name, codes())?;
    let services = services(global);
    nearest(name, services.iter().map(Name::as_str).chain(codes()))?.parse().ok()
}

fn services(global: &Global) -> Vec<Name> {
    let inspected = load::inspect(global, &[], Scope::Request, |_| {});
    inspected.map(|inspected| inspected.outcome.services).unwrap_or_default()
}
