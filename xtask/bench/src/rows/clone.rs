//! From a clean clone of this repository to ready, against cargo's build of the services alone.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::Bench;
use crate::command;
use crate::programs::{cargo, repository};
use crate::row::{Limit, Row};
use crate::samples::Samples;

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    // The tool knows what `up` builds here, so that nothing in this file names a service.
    let mut plan = Command::new(&bench.programs.tool);
    plan.args(["up", "--dry-run", "--json"]).current_dir(repository());
    let plan: Value = serde_json::from_slice(&command::run(&mut plan)?.stdout)?;
    let words = plan["build"]["command"].as_array().context("the plan has no build")?;
    let words: Vec<_> = words.iter().filter_map(Value::as_str).skip(1).collect();
    let mut row = Row::new(
        "clone",
        "from a clean clone to ready, by `cargo xtask up -d`; ideal: cargo's build of the services",
    );
    row.unit = "s";
    row.limit = Some(Limit::Times(1.25));
    let mut ideal = Samples::default();
    for _ in 0..bench.runs.min(if bench.quick { 1 } else { 3 }) {
        ideal.push(in_clone(&words)?.as_secs_f64());
        row.ours.push(in_clone(&["xtask", "up", "-d"])?.as_secs_f64());
    }
    row.ideal = Some(ideal);
    Ok(vec![row])
}

/// The time of a cargo command in a new clone, whose stack it takes down.
fn in_clone(args: &[&str]) -> anyhow::Result<Duration> {
    let folder = tempfile::Builder::new().prefix("xtask-bench-").tempdir()?;
    let clone = folder.path().join("clone");
    let mut git = Command::new("git");
    git.args(["clone", "--quiet"]).arg(repository()).arg(&clone);
    command::run(&mut git)?;
    let in_it = |args: &[&str]| {
        let mut command = Command::new(cargo());
        command.args(args).current_dir(&clone).env_remove("CARGO_TARGET_DIR");
        command.env("XTASK_STATE_DIR", folder.path().join("state"));
        command
    };
    let took = command::run(&mut in_it(args));
    if args.first() == Some(&"xtask") {
        command::run(&mut in_it(&["xtask", "down"]))?;
    }
    Ok(took?.took)
}
