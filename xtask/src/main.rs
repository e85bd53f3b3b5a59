//! `cargo xtask`: starts, watches and tests the services of a workspace.
//!
//! The tool knows the workspace only through Cargo and its metadata.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod effects;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use effects::planning::{self, Scope};
use xtask_core::plan::{Building, Cycles, Isolation, Ports, Request};
use xtask_core::problem::Severity;

#[derive(Parser)]
struct Cli {
    #[arg(long, global = true)]
    manifest_path: Option<PathBuf>,
    #[arg(long, global = true, default_value = "dev")]
    stack: String,
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check {
        #[command(flatten)]
        plan: PlanArgs,
    },
    Explain {
        service: String,
        #[command(flatten)]
        plan: PlanArgs,
    },
    Up {
        #[arg(long)]
        dry_run: bool,
        services: Vec<String>,
        #[command(flatten)]
        plan: PlanArgs,
        #[arg(last = true)]
        args: Vec<String>,
    },
}

#[derive(Args)]
struct PlanArgs {
    #[arg(long)]
    with: Vec<String>,
    #[arg(short = 'e', long = "env")]
    env: Vec<String>,
    #[arg(long)]
    ports: Option<String>,
    #[arg(long)]
    cycles: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let here = std::env::current_dir()?;
    let (gathered, found) = effects::workspace::gather(&here, cli.manifest_path.as_deref())?;
    let (plan, services, args) = match &cli.command {
        Command::Check { plan } => (plan, vec![], vec![]),
        Command::Explain { service, plan } => (plan, vec![service.clone()], vec![]),
        Command::Up { services, plan, args, .. } => (plan, services.clone(), args.clone()),
    };
    let request = Request {
        isolation: if cli.stack == "dev" { Isolation::Shared } else { Isolation::Isolated },
        stack: cli.stack,
        data: "/data".into(),
        services,
        overlays: plan.with.clone(),
        variables: plan.env.clone(),
        args,
        ports: if plan.ports.is_some() { Ports::Auto } else { Ports::Declared },
        cycles: if plan.cycles.is_some() { Cycles::Relax } else { Cycles::Refuse },
        cargo_args: vec![],
        building: Building::Build,
        shell: planning::shell(),
    };
    let scope = match &cli.command {
        Command::Check { .. } => Scope::Everything,
        _ => Scope::Request,
    };
    let planned = planning::plan(&gathered, found, &request, scope);
    let outcome = &planned.outcome;
    let texts = |file: &str| gathered.text(file);
    let refused = outcome.problems.iter().any(|p| p.severity == Severity::Error);
    if cli.json && refused {
        let json = view::problem::json(&outcome.problems, &texts);
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        anstream::eprint!("{}", view::problem::render(&outcome.problems, &texts));
    }
    if refused {
        return Ok(ExitCode::from(2));
    }
    let Some(plan) = &outcome.plan else { return Ok(ExitCode::from(2)) };
    match &cli.command {
        Command::Check { .. } => {
            anstream::eprintln!("{}", view::problem::count(&outcome.problems));
        }
        Command::Explain { service, .. } if cli.json => {
            let json = view::explain::json(plan, service, None);
            println!("{}", serde_json::to_string_pretty(&json)?);
        }
        Command::Explain { service, .. } => {
            print!("{}", view::explain::render(plan, service, None).unwrap_or_default());
        }
        Command::Up { .. } if cli.json => {
            println!("{}", serde_json::to_string_pretty(&view::plan::json(plan))?);
        }
        Command::Up { .. } => print!("{}", view::plan::text(plan)),
    }
    Ok(ExitCode::SUCCESS)
}
