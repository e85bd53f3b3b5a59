//! `env`: the variables of a service as lines that a shell can read, to start it by hand.
//!
//! It is the only command that prints secrets, and it prints them to standard output alone.

use clap_builder::{Arg, ArgMatches, Command};
use xtask_control::protocol::Ask;
use xtask_core::plan::Program;

use super::arguments::{Arguments, flag, required};
use super::exit::Exit;
use super::plan_args::StackArgs;
use super::{Global, block_on, load, print, stack};
use crate::view::environment::{Variables, shell_lines};
use crate::view::setting::Values;
use crate::view::style::WARN;

pub(crate) struct EnvArgs {
    service: String,
    json: bool,
    stack: StackArgs,
}

impl Arguments for EnvArgs {
    fn add(command: Command) -> Command {
        let service = Arg::new("service")
            .value_name("SERVICE")
            .help("The service that is started by hand")
            .required(true);
        let json = flag("json", "Print the variables as a JSON object");
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

pub(crate) fn run(global: &Global, args: &EnvArgs) -> anyhow::Result<Exit> {
    let services = std::slice::from_ref(&args.service);
    let loaded = load::plan_kept(global, services, |request| args.stack.shape(request))?;
    let running = block_on(stack::status(&loaded.paths, Ask::No))?;
    let plan = &loaded.plan;
    let Some(service) = plan.service(&args.service) else { return Ok(Exit::DONE) };
    if service.program == Program::External {
        print::progress(WARN, "Note", &format!("`{}` is external and gets none", service.name));
    }
    let Variables { set, unknown, odd } =
        Variables::of(&Values { plan, running: running.as_ref() }, service);
    if set.values().any(|value| value.contains(&plan.data)) {
        loaded.paths.create()?;
    }
    if !unknown.is_empty() {
        let text = format!("left out until the stack has chosen a port: {}", unknown.join(", "));
        print::progress(WARN, "Note", &text);
    }
    match args.json {
        true => print::json_pretty(&set)?,
        false => {
            if !odd.is_empty() {
                let text = format!("left out, because no shell has such names: {}", odd.join(", "));
                print::progress(WARN, "Note", &text);
            }
            print::out(&shell_lines(&set))?;
        }
    }
    Ok(Exit::DONE)
}
