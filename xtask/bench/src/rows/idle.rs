//! Memory and processor time of an idle stack.

use std::fs;
use std::time::Duration;

use super::start::Ideal;
use crate::Bench;
use crate::graph::Graph;
use crate::process::{Usage, cpu_ms, usage};
use crate::row::{Curve, Limit, Row};
use crate::samples::Samples;
use crate::workspace::{Readiness, Workspace};

/// How long a stack is left alone before it counts as idle.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let sizes = if bench.quick { vec![5, 10] } else { vec![10, 100, 1000] };
    let rows = sizes.into_iter().map(|size| rows(bench, size));
    Ok(rows.collect::<anyhow::Result<Vec<_>>>()?.concat())
}

fn rows(bench: &Bench, size: usize) -> anyhow::Result<Vec<Row>> {
    let seconds = if bench.quick { 1 } else { 10 };
    let graph = Graph::wide(size);
    let graph_file = bench.programs.folder.path().join("graph");
    fs::write(&graph_file, graph.lines())?;
    let ideal = Ideal::start(bench, &graph_file, Readiness::Notify)?;
    let ideal_usage = usage(&[ideal.pid()]);
    ideal.stop()?;

    let workspace = Workspace::of_helpers(&bench.programs, &graph, Readiness::Notify, &[])?;
    let (mut memory, mut cpu, mut last) =
        (Samples::default(), Samples::default(), Usage::default());
    let mut processes = 0;
    for _ in 0..bench.runs.min(3) {
        workspace.run(&["up", "-d", "--no-build"])?;
        std::thread::sleep(SETTLE);
        let pids = workspace.own_processes();
        let before = cpu_ms(&pids);
        std::thread::sleep(Duration::from_secs(seconds));
        last = usage(&pids);
        processes = pids.len();
        memory.push(last.pss_mb);
        let used = cpu_ms(&pids).into_iter().map(|(thread, ms)| match before.get(&thread) {
            Some(before) => ms - before,
            None => ms,
        });
        cpu.push(used.sum());
        workspace.down()?;
    }
    let mut memory_row = Row::new(
        format!("idle-{size}-memory"),
        format!("memory (PSS) of {processes} processes, with {size} services"),
    );
    memory_row.unit = "MB";
    memory_row.ours = memory;
    memory_row.ideal = Some(Samples::of(ideal_usage.pss_mb));
    memory_row.curve = Some((Curve::Memory, size));
    memory_row.limit = (size <= 100).then_some(Limit::AtMost(8.0));
    let Usage { descriptors, threads, .. } = last;
    memory_row.notes.push(format!("{descriptors} descriptors, {threads} threads"));
    let mut cpu_row =
        Row::new(format!("idle-{size}-cpu"), format!("processor time in {seconds} s"));
    cpu_row.ours = cpu;
    cpu_row.limit = Some(Limit::AtMost(1.0));
    Ok(vec![memory_row, cpu_row])
}
