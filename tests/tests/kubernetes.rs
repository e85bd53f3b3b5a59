//! The application as `export kubernetes` writes it, held against the published schemas and
//! read by `kubectl`.
//!
//! Nothing is applied: there is no cluster here. The images that the export makes stay, as
//! those of the command do.

#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use e2e::harness::{cargo, workspace_of};

/// What `export` ends with where no container engine answers.
const NO_ENGINE: i32 = 6;

/// The file follows. `kubectl` reads every object into its own types to list its variables,
/// and asks no cluster for it.
const READERS: [&[&str]; 2] = [
    &["kubernetes-validate", "--strict", "--no-warn"],
    &["kubectl", "set", "env", "--local", "--list", "-f"],
];

#[test]
fn the_application_is_written_as_objects_that_the_schemas_and_kubectl_know() {
    let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    for overlay in [&[][..], &["--with", "swarm"]] {
        let folder = tempfile::tempdir().unwrap();
        let mut export = cargo(&root);
        export.args(["xtask", "export", "kubernetes"]).args(overlay).arg("--output");
        let output = export.arg(folder.path()).output().unwrap();
        if output.status.code() == Some(NO_ENGINE) {
            println!("SKIPPED: no container engine answers on this machine");
            return;
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for reader in READERS {
            is_valid(reader, &folder.path().join("kubernetes.yaml"));
        }
    }
}

#[track_caller]
fn is_valid(reader: &[&str], file: &Path) {
    let output = match Command::new(reader[0]).args(&reader[1..]).arg(file).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("SKIPPED: `{}` is not on this machine", reader[0]);
            return;
        }
        output => output.unwrap(),
    };
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let text = std::fs::read_to_string(file).unwrap();
    for kind in ["kind: Deployment", "kind: Service", "kind: Job"] {
        assert!(text.contains(kind), "no `{kind}` in:\n{text}");
    }
    assert!(output.status.success(), "`{reader:?}` refuses:\n{text}\n{said}");
}
