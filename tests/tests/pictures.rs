//! The pictures of the graph in `docs` are what the tool draws of the metadata now.
//!
//! `XTASK_BLESS=1 cargo test -p e2e --test pictures` writes them.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use e2e::harness::{cargo, workspace_of};

/// Each picture, with the arguments of `graph`.
const PICTURES: [(&str, &[&str]); 2] =
    [("docs/graph.svg", &[]), ("docs/graph-postgres.svg", &["--with", "postgres"])];

#[test]
fn committed_graphs_match_the_metadata() {
    let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    for (path, arguments) in PICTURES {
        let mut graph = cargo(&root);
        graph.args(["xtask", "graph", "--format", "svg"]).args(arguments);
        let output = graph.env_remove(xtask_client::STACK_VARIABLE).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let drawn = String::from_utf8(output.stdout).unwrap();
        if std::env::var_os("XTASK_BLESS").is_some() {
            fs::write(root.join(path), &drawn).unwrap();
        }
        let committed = fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(
            committed == drawn,
            "`{path}` differs from the metadata; `XTASK_BLESS=1` writes it"
        );
    }
}
