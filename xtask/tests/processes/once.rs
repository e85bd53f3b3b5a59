//! A job with `once` runs once for each data folder.

use std::path::PathBuf;

use xtask_test_support::Fixture;
use xtask_test_support::stand::{phase, stand};

/// `seed` writes a line for each of its runs; `shop` waits for it.
fn shop() -> Fixture {
    let fixture = stand(&[("shop", "", "depends-on = [\"seed\"]\n")]);
    fixture
        .workspace(
            "[workspace.metadata.services.seed]\nkind = \"job\"\nonce = true\n\
             command = [\"sh\", \"-c\", \"echo run >> ${stack.data}/runs\"]\n",
        )
        .write()
}

fn runs(fixture: &Fixture, stack: &str) -> usize {
    let arguments = ["up", "--dry-run", "--json", "--stack", stack];
    let plan = fixture.xtask(&arguments).ends_with(0).json();
    let file = PathBuf::from(plan["data"].as_str().unwrap()).join("runs");
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[test]
fn once_job_runs_again_only_on_request() {
    let fixture = shop();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!((runs(&fixture, "dev"), phase(&fixture, "seed")), (1, "succeeded".to_owned()));
    fixture.edit("Cargo.toml", "echo run", "echo again");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(runs(&fixture, "dev"), 1, "an edit is no reason");
    fixture.xtask(&["down"]).ends_with(0);
    fixture
        .xtask(&["up", "-d"])
        .ends_with(0)
        .says("Done seed: done before")
        .says("(job)    done before");
    assert_eq!((runs(&fixture, "dev"), phase(&fixture, "shop")), (1, "ready".to_owned()));
    let seed = fixture.service("seed");
    assert_eq!((&seed["phase"], &seed["reason"]), (&"succeeded".into(), &"done before".into()));
    fixture.xtask(&["status"]).ends_with(0).says("done before");
    fixture.xtask(&["explain", "seed"]).ends_with(0).says("once for each data folder");
    fixture.xtask(&["restart", "seed"]).ends_with(0);
    assert_eq!(runs(&fixture, "dev"), 2);
    fixture.xtask(&["restart", "seed", "--no-build"]).ends_with(0);
    assert_eq!(runs(&fixture, "dev"), 3);
    fixture.xtask(&["down", "--data"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(runs(&fixture, "dev"), 1, "its data was deleted");
    fixture.xtask(&["up", "-d", "--stack", "other"]).ends_with(0);
    assert_eq!(runs(&fixture, "other"), 1, "another stack has its own data");
    fixture.xtask(&["down", "--data", "--stack", "other"]).ends_with(0);
}

#[test]
fn failed_once_job_runs_at_the_next_start() {
    let fixture = shop();
    fixture.edit("Cargo.toml", "echo run", "exit 1; echo run");
    fixture.xtask(&["up", "-d"]).ends_with(4);
    fixture.edit("Cargo.toml", "exit 1; ", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(runs(&fixture, "dev"), 1);
}
