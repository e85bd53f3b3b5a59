//! The smallest rows of the benchmark, by structure. No test here looks at a time.

#![expect(clippy::unwrap_used, reason = "a failure ends the test")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The tool that the tests of the workspace run, beside this benchmark.
fn bench(args: &[&str]) -> std::process::Output {
    let own = Path::new(env!("CARGO_BIN_EXE_xtask-bench"));
    Command::new(own).args(["--quick", "--runs", "1", "--no-peers"]).args(args).output().unwrap()
}

fn rows(args: &[&str]) -> Vec<Value> {
    let output = bench(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    json["rows"].as_array().unwrap().clone()
}

#[test]
fn quick_rows_have_values_and_a_lower_bound() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let rows = rows(&[
        "--json",
        "--plot",
        plot.to_str().unwrap(),
        "--rows",
        "chain",
        "wide",
        "layered",
        "ports",
        "sockets",
        "idle",
        "logs",
        "kill",
        "scale",
    ]);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    for name in ["chain-5", "wide-10-stop", "layered-6-ports", "chain-5-sockets", "logs", "kill-10"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for row in &rows {
        assert_eq!(row["ours"]["values"].as_array().unwrap().len(), 1, "{row:#}");
        let ideal = &row["ideal"];
        assert!(ideal.is_null() || ideal["median"].as_f64().unwrap() > 0.0, "{row:#}");
        assert_eq!(row["reached"].is_null(), row["limit"].is_null(), "{row:#}");
    }
    let alive = rows.iter().find(|row| row["name"] == "kill-10").unwrap();
    assert_eq!(alive["ours"]["median"], 0.0);
    let plot = std::fs::read_to_string(plot).unwrap();
    assert!(plot.starts_with("<svg") && !plot.contains("not measured"), "{plot}");
}

#[test]
fn edit_rows_reach_the_new_code() {
    let rows = rows(&["--json", "--rows", "again", "edit", "watch"]);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"again") && names.contains(&"edit"), "{names:?}");
}

#[test]
fn unknown_row_is_refused_with_the_known_ones() {
    let output = bench(&["--rows", "chian"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("`chian`") && stderr.contains("chain, wide"), "{stderr}");
}
