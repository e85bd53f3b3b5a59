//! `cargo xtask bench`: measures the tool against a lower bound, in one run.
//!
//! Each row starts generated workspaces with one small helper program, and beside them `ideal`, an
//! event-driven launcher without supervision. The runs of both are interleaved, so that other work
//! on the machine affects both. Only ratios can be compared between machines. The result is a
//! table, `--json` and `--plot`. No row fails because it is slow.
//!
//! # Layout
//! - `rows`: one file for each group of rows
//! - `graph`, `workspace`, `programs`: what is started
//! - `command`, `process`: how it is measured
//! - `samples`, `row`, `table`, `plot`: what is shown

mod command;
mod graph;
mod plot;
mod process;
mod programs;
mod row;
mod rows;
mod samples;
mod table;
mod workspace;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::Parser;

use crate::programs::Programs;
use crate::rows::{GROUPS, Group};

/// Measure the tool against a lower bound, in one run
///
/// By default all rows but the long ones are measured, five times each.
/// Example: cargo xtask bench --rows chain wide
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", about)]
struct Args {
    /// Measure only these groups of rows, also long ones
    #[arg(long, value_name = "NAME", num_args = 1..)]
    rows: Vec<String>,
    /// Print the groups of rows and measure nothing
    #[arg(long)]
    list: bool,
    /// Measure small sizes twice, to see whether everything runs
    #[arg(long)]
    quick: bool,
    /// How often to measure [default: 5, with `--quick` 2]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
    /// Write a plot of cost against size to this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Measure this program instead of the one that `cargo xtask` builds
    #[arg(long, value_name = "PATH")]
    tool: Option<PathBuf>,
    /// Measure no other tools, such as runit
    #[arg(long)]
    no_peers: bool,
}

/// What the groups of rows get.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) quick: bool,
    pub(crate) runs: u32,
    pub(crate) peers: bool,
}

impl Bench {
    /// The size to measure: `quick` with `--quick`.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    if args.list {
        for group in GROUPS {
            let long = if group.is_long { " (only if named)" } else { "" };
            println!("{:<10} {}{long}", group.name, group.what);
        }
        return Ok(());
    }
    let groups = selected(&args.rows)?;
    let tool = match &args.tool {
        Some(path) => {
            path.canonicalize().with_context(|| format!("failed to find `{}`", path.display()))?
        }
        None => built_tool()?,
    };
    let bench = Bench {
        programs: Programs::compile(tool)?,
        quick: args.quick,
        runs: args.runs.unwrap_or(if args.quick { 2 } else { 5 }),
        peers: !args.no_peers,
    };
    let mut rows = Vec::new();
    for group in groups {
        eprintln!("{:>12} {}: {}", "Measuring", group.name, group.what);
        let measured = (group.measure)(&bench);
        rows.extend(measured.with_context(|| format!("failed to measure `{}`", group.name))?);
    }
    if let Some(path) = &args.plot {
        std::fs::write(path, plot::svg(&rows))
            .with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    match args.json {
        true => println!("{:#}", row::json(&rows, &bench)),
        false => print!("{}", table::text(&rows)),
    }
    Ok(())
}

fn selected(names: &[String]) -> anyhow::Result<Vec<&'static Group>> {
    if names.is_empty() {
        return Ok(GROUPS.iter().filter(|group| !group.is_long).collect());
    }
    let unknown = names.iter().find(|name| GROUPS.iter().all(|group| group.name != **name));
    if let Some(unknown) = unknown {
        let known: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
        bail!("no rows are named `{unknown}`; there are {}", known.join(", "));
    }
    Ok(GROUPS.iter().filter(|group| names.iter().any(|name| name == group.name)).collect())
}

/// Builds the tool as `cargo xtask` does, and returns its path: it is beside this program.
fn built_tool() -> anyhow::Result<PathBuf> {
    let root = programs::repository();
    let mut build = Command::new(programs::cargo());
    build.args(["build", "--quiet", "--package", "xtask"]).current_dir(&root);
    if !build.status().context("failed to start cargo")?.success() {
        bail!("failed to build the tool");
    }
    let own = std::env::current_exe().context("failed to find this program")?;
    let tool = own.with_file_name("xtask");
    if !tool.exists() {
        bail!("there is no `{}`; name the program with `--tool`", tool.display());
    }
    Ok(tool)
}
