//! The output of `export kubernetes` for the application, validated by the published schemas and by
//! `kubectl`.
//!
//! Nothing is applied to a cluster. The images of the export are kept.

use std::path::Path;

use e2e::harness::{cargo, workspace_of};
use xtask_test_support::Judge;

/// The exit code of `export` without a container engine.
const NO_ENGINE: i32 = 6;

#[test]
fn export_passes_the_schemas_and_kubectl() {
    let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    for overlay in [&[][..], &["--with", "swarm"]] {
        let folder = tempfile::tempdir().unwrap();
        let mut export = cargo(&root);
        export.args(["xtask", "export", "kubernetes"]).args(overlay).arg("--output");
        let output = export.arg(folder.path()).output().unwrap();
        if output.status.code() == Some(NO_ENGINE) {
            xtask_client::harness::skipped("a container engine");
            return;
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let objects = folder.path().join("kubernetes.yaml");
        let text = std::fs::read_to_string(&objects).unwrap();
        for kind in ["kind: Deployment", "kind: Service", "kind: Job"] {
            assert!(text.contains(kind), "no `{kind}` in:\n{text}");
        }
        for judge in Judge::ALL {
            judge.takes(&objects);
            // The wrong objects are made from the replicas of the overlay.
            if !overlay.is_empty() {
                judge.refuses(&objects);
            }
        }
    }
}
