//! The application as `export kubernetes` writes it, held against the published schemas and
//! read by `kubectl`.
//!
//! Nothing is applied: there is no cluster here. The images that the export makes stay, as
//! those of the command do.

use std::path::Path;

use e2e::harness::{cargo, workspace_of};
use xtask_test_support::Judge;

/// What `export` ends with where no container engine answers.
const NO_ENGINE: i32 = 6;

#[test]
fn the_application_is_written_as_objects_that_the_schemas_and_kubectl_know() {
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
            // With the overlay there are the copies that a mistake is made of.
            if !overlay.is_empty() {
                judge.refuses(&objects);
            }
        }
    }
}
