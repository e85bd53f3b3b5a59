//! A large stack in use: status, logs, and what one service costs the tool.

use anyhow::ensure;

use crate::Bench;
use crate::graph::Graph;
use crate::process::{Usage, usage};
use crate::row::Row;
use crate::samples::Samples;
use crate::workspace::{Readiness, Workspace};

struct Measured {
    usage: Usage,
    /// Commands with their times in milliseconds.
    commands: Vec<(&'static str, f64)>,
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (few, many) = (bench.size(10, 2), bench.size(1000, 22));
    // What a stack costs whatever its size is subtracted.
    let base = stack(bench, few)?.usage;
    let Measured { usage: all, commands } = stack(bench, many)?;
    let row = |name: &str, what: String, unit: &'static str, value: f64| {
        let mut row = Row::new(format!("scale-{many}-{name}"), what);
        (row.unit, row.ours) = (unit, Samples::of(value));
        row
    };
    let mut rows = Vec::new();
    for (command, value) in commands {
        let what = format!("`{command}` of {many} services");
        rows.push(row(&command.replace(" --", "-"), what, "ms", value));
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    for (name, unit, value) in [
        ("memory", "kB", (all.pss_mb - base.pss_mb) * 1024.0),
        ("descriptors", "", all.descriptors as f64 - base.descriptors as f64),
        ("threads", "", all.threads as f64 - base.threads as f64),
    ] {
        let what = format!("{name} of the tool for each of {many} services");
        rows.push(row(name, what, unit, value / (many - few) as f64));
    }
    Ok(rows)
}

fn stack(bench: &Bench, size: usize) -> anyhow::Result<Measured> {
    let graph = Graph::wide(size);
    let args = ["lines", "1"];
    let workspace = Workspace::of_helpers(&bench.programs, &graph, Readiness::Notify, &args)?;
    workspace.run(&["up", "-d", "--no-build"])?;
    let usage = usage(&workspace.own_processes());
    let mut commands = Vec::new();
    for command in ["status", "status --json", "logs"] {
        let args: Vec<_> = command.split(' ').collect();
        let output = workspace.run(&args)?;
        commands.push((command, output.took.as_secs_f64() * 1000.0));
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| line.contains("xxxx")).count();
        ensure!(command != "logs" || lines == size, "`logs` shows {lines} of {size} lines");
    }
    workspace.down()?;
    Ok(Measured { usage, commands })
}
