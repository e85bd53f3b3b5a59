//! Start and stop of a stack.
//!
//! `start` is the time from the start of the supervisor's clock, just before the plan arrives,
//! until the last service is ready. `whole` is all of `up -d --no-build`, and `stop` all of `down`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::peers;
use crate::Bench;
use crate::command;
use crate::graph::Graph;
use crate::process;
use crate::row::{Curve, Limit, Row};
use crate::samples::Samples;
use crate::workspace::{Readiness, Workspace};

/// The times of one graph.
#[derive(Debug, Default)]
struct Times {
    start: Samples,
    whole: Samples,
    stop: Samples,
    ideal_start: Samples,
    ideal_stop: Samples,
    /// What `cargo metadata` takes in the same workspace.
    metadata: Samples,
    /// What the tool takes to do nothing.
    nothing: Samples,
}

/// The ratio to reach with notify and inherited sockets.
const START: f64 = 1.5;
/// The ratio to reach with polled ports.
const POLLED: f64 = 3.0;
const STOP: f64 = 2.0;
/// Milliseconds that a whole `up` may take beyond start and `cargo metadata`, per service.
const WHOLE_PER_SERVICE: f64 = 0.1;

pub(crate) fn chain(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    rows(bench, &Graph::chain(bench.size(50, 5)), Readiness::Notify)
}

pub(crate) fn wide(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let graph = Graph::wide(bench.size(100, 10));
    let mut rows = rows(bench, &graph, Readiness::Notify)?;
    if bench.peers
        && let Some(row) = rows.first_mut()
    {
        row.peers = peers::start(bench, graph.len())?;
    }
    Ok(rows)
}

pub(crate) fn layered(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    rows(bench, &Graph::layered(bench.size(10, 2), bench.size(20, 3)), Readiness::Notify)
}

pub(crate) fn ports(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let graphs = [
        Graph::chain(bench.size(50, 5)),
        Graph::wide(bench.size(100, 10)),
        Graph::layered(bench.size(10, 2), bench.size(20, 3)),
    ];
    first_of_each(bench, &graphs, Readiness::Ports)
}

pub(crate) fn sockets(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let graphs = [Graph::chain(bench.size(50, 5)), Graph::wide(bench.size(100, 10))];
    first_of_each(bench, &graphs, Readiness::Sockets)
}

pub(crate) fn thousand(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let graphs = [Graph::chain(bench.size(1000, 20)), Graph::wide(bench.size(1000, 30))];
    let all = graphs.iter().map(|graph| rows(bench, graph, Readiness::Notify));
    Ok(all.collect::<anyhow::Result<Vec<_>>>()?.concat())
}

fn first_of_each(
    bench: &Bench,
    graphs: &[Graph],
    readiness: Readiness,
) -> anyhow::Result<Vec<Row>> {
    let all = graphs.iter().map(|graph| rows(bench, graph, readiness));
    Ok(all
        .collect::<anyhow::Result<Vec<_>>>()?
        .into_iter()
        .filter_map(|rows| rows.into_iter().next())
        .collect())
}

fn rows(bench: &Bench, graph: &Graph, readiness: Readiness) -> anyhow::Result<Vec<Row>> {
    let times = measure(bench, graph, readiness)?;
    let (shape, size) = (graph.shape, graph.len());
    let (suffix, how, ratio) = match readiness {
        Readiness::Notify => ("", "notify", START),
        Readiness::Ports => ("-ports", "polled ports", POLLED),
        Readiness::Sockets => ("-sockets", "inherited sockets", START),
    };
    let name = format!("{shape}-{size}{suffix}");
    let curve = match (shape, readiness) {
        ("chain", Readiness::Notify) => Some((Curve::Chain, size)),
        ("wide", Readiness::Notify) => Some((Curve::Wide, size)),
        _ => None,
    };
    let mut start = Row::new(&name, format!("{shape} of {size}, {how}: supervisor to all ready"));
    start.ours = times.start;
    start.ideal = Some(times.ideal_start.clone());
    start.limit = Some(Limit::Times(ratio));
    start.curve = curve;

    let mut whole = Row::new(format!("{name}-whole"), "the whole `up -d --no-build`");
    let metadata = times.metadata.median();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let limit = times.ideal_start.median() * ratio + metadata + size as f64 * WHOLE_PER_SERVICE;
    whole.ours = times.whole;
    whole.ideal = Some(times.ideal_start);
    whole.limit = Some(Limit::AtMost(limit));
    whole.notes.push(format!("`cargo metadata` alone: {metadata:.1} ms"));

    let mut stop =
        Row::new(format!("{name}-stop"), "the whole `down`, until all processes are gone");
    stop.ours = times.stop;
    stop.ideal = Some(times.ideal_stop);
    stop.limit = (size >= 100).then_some(Limit::Times(STOP));
    stop.notes.push(format!("the tool doing nothing: {:.1} ms", times.nothing.median()));
    Ok(vec![start, whole, stop])
}

fn measure(bench: &Bench, graph: &Graph, readiness: Readiness) -> anyhow::Result<Times> {
    let workspace = Workspace::of_helpers(&bench.programs, graph, readiness, &[])?;
    let graph_file = bench.programs.folder.path().join("graph");
    fs::write(&graph_file, graph.lines())?;
    let mut times = Times::default();
    for _ in 0..bench.runs {
        let ideal = Ideal::start(bench, &graph_file, readiness)?;
        times.ideal_start.push_time(ideal.ready);
        times.ideal_stop.push_time(ideal.stop()?);

        let mut metadata = workspace.cargo();
        metadata.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
        times.metadata.push_time(command::run(&mut metadata)?.took);
        times.nothing.push_time(workspace.run(&["--version"])?.took);
        times.whole.push_time(workspace.run(&["up", "-d", "--no-build"])?.took);
        times.start.push(ready_at(&workspace.status()?)?);
        times.stop.push_time(workspace.down()?.took);
        let left = process::of_program(&bench.programs.helper);
        anyhow::ensure!(left.is_empty(), "services survived `down`: {left:?}");
    }
    Ok(times)
}

/// When the last service was ready, in milliseconds since the supervisor started.
pub(crate) fn ready_at(status: &serde_json::Value) -> anyhow::Result<f64> {
    let services = status["services"].as_array().context("the status has no services")?;
    let ready = services.iter().map(|service| service["ready_at_ms"].as_f64());
    let ready = ready.collect::<Option<Vec<_>>>().context("a service is not ready after `up`")?;
    Ok(ready.into_iter().fold(0.0, f64::max))
}

/// The running lower bound. The drop stops it and what it started.
#[derive(Debug)]
pub(crate) struct Ideal {
    child: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
    pub(crate) ready: Duration,
}

impl Ideal {
    /// Starts it, and waits until all its services are ready.
    pub(crate) fn start(bench: &Bench, graph: &Path, readiness: Readiness) -> anyhow::Result<Self> {
        let mut command = Command::new(&bench.programs.ideal);
        command.arg(graph).arg(&bench.programs.helper).env_clear();
        if readiness != Readiness::Notify {
            // It listens, as the services of the tool do.
            command.env("PORT", "0");
        }
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.context("failed to start the lower bound")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("it has no output")?;
        let mut this = Self { child, input, output: BufReader::new(output), ready: Duration::ZERO };
        this.ready = this.time("ready")?;
        Ok(this)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Stops its services in order. Returns how long that took.
    pub(crate) fn stop(mut self) -> anyhow::Result<Duration> {
        if let Some(input) = &mut self.input {
            input.write_all(b"\n")?;
        }
        self.time("stopped")
    }

    fn time(&mut self, word: &str) -> anyhow::Result<Duration> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let nanoseconds = line.trim().strip_prefix(word).and_then(|rest| rest.trim().parse().ok());
        let nanoseconds = nanoseconds.with_context(|| format!("the lower bound said `{line}`"))?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Ideal {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
