//! What survives `kill -9` of the supervisor.

use std::time::Duration;

use anyhow::Context as _;

use crate::Bench;
use crate::graph::Graph;
use crate::process;
use crate::row::{Limit, Row};
use crate::workspace::{Readiness, Workspace};

const SERVICES: usize = 10;

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let graph = Graph::wide(SERVICES);
    let workspace = Workspace::of_helpers(&bench.programs, &graph, Readiness::Notify, &[])?;
    let mut row =
        Row::new("kill-10", "services alive one second after `kill -9` of the supervisor, of 10");
    row.unit = "";
    row.limit = Some(Limit::AtMost(0.0));
    for _ in 0..bench.runs {
        workspace.run(&["up", "-d", "--no-build"])?;
        let pid = workspace.status()?["supervisor_pid"].as_i64().context("no supervisor")?;
        let running = process::of_program(&bench.programs.helper).len();
        anyhow::ensure!(running == SERVICES, "{running} services run, and not {SERVICES}");
        // SAFETY: the call takes two numbers. The process is the supervisor of our stack.
        unsafe { libc::kill(i32::try_from(pid)?, libc::SIGKILL) };
        std::thread::sleep(Duration::from_secs(1));
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        row.ours.push(process::of_program(&bench.programs.helper).len() as f64);
        workspace.down()?;
    }
    Ok(vec![row])
}
