//! `up -d` when everything runs already.

use super::edit::shop;
use crate::Bench;
use crate::command;
use crate::row::{Limit, Row};
use crate::samples::Samples;

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let workspace = shop(bench)?;
    workspace.run(&["up", "-d"])?;
    let mut row = Row::new(
        "again",
        "`up -d` when all runs; ideal: the tool doing nothing and a `cargo build` with nothing to do",
    );
    let mut no_build = Row::new("again-no-build", "`up -d --no-build` when all runs");
    let mut ideal = Samples::default();
    row.limit = Some(Limit::More(60.0));
    for _ in 0..bench.runs {
        let nothing = workspace.run(&["--version"])?.took;
        let build = command::run(workspace.cargo().arg("build"))?.took;
        ideal.push_time(nothing + build);
        row.ours.push_time(workspace.run(&["up", "-d"])?.took);
        no_build.ours.push_time(workspace.run(&["up", "-d", "--no-build"])?.took);
    }
    row.ideal = Some(ideal);
    workspace.down()?;
    Ok(vec![row, no_build])
}
