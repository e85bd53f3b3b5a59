//! `run`: executes a command with the variables and in the folder of a service: a migration, a
//! debugger, `psql`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use xtask_control::protocol::Ask;
use xtask_core::plan::Program;

use xtask::cli::error::Failure;
use xtask::cli::plan_args::StackArgs;
use xtask::cli::{Exit, Global, block_on, load, print, stack};
use xtask::view::environment::Variables;
use xtask::view::setting::Values;
use xtask::view::style::WARN;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The service whose variables the command gets
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<String>,
    #[command(flatten)]
    stack: StackArgs,
}

pub(crate) fn run(global: &Global, args: &RunArgs) -> anyhow::Result<Exit> {
    let services = std::slice::from_ref(&args.service);
    let loaded = load::plan_kept(global, services, |request| args.stack.shape(request))?;
    let running = block_on(stack::status(&loaded.paths, Ask::No))?;
    let plan = &loaded.plan;
    let Some(service) = plan.service(&args.service) else { return Ok(Exit::DONE) };
    if service.program == Program::External {
        let message = format!("`{}` is external, so it has no variables", service.name);
        return Err(Failure::new(Exit::USAGE, message)
            .hint("name a service that the tool starts")
            .into());
    }
    let values = Values { plan, running: running.as_ref() };
    let Variables { set, unknown, .. } = Variables::of(&values, service);
    if !unknown.is_empty() {
        let text = format!("not set until the stack has chosen a port: {}", unknown.join(", "));
        print::progress(WARN, "Note", &text);
    }
    if set.values().any(|value| value.contains(&plan.data)) {
        loaded.paths.create()?;
    }
    let Some((program, words)) = args.command.split_first() else { return Ok(Exit::USAGE) };
    let error = Command::new(program).args(words).envs(&set).current_dir(&service.cwd).exec();
    let message = format!("failed to execute `{program}`");
    Err(Failure::new(Exit::USAGE, message)
        .hint("check the name: `%xtask% run SERVICE -- COMMAND` uses no shell")
        .cause(error)
        .into())
}
