//! Objects for Kubernetes, held against the published schemas and read by `kubectl`.
//!
//! Nothing is applied: there is no cluster here. `kubectl create --dry-run=client` asks one
//! which kinds it knows, so `kubectl` is asked to list variables instead: for that it reads
//! every object into its own types and asks nobody. What a schema does not know, only the
//! schemas refuse.

use std::path::Path;
use std::process::{Command, Output};

use super::engine::Made;
use super::exports::shop;
use crate::support::PackageSpec;

/// Strict, so that a key which nobody knows is a mistake.
const SCHEMAS: [&str; 3] = ["kubernetes-validate", "--strict", "--no-warn"];

/// `-f FILE` follows.
const KUBECTL: [&str; 5] = ["kubectl", "set", "env", "--local", "--list"];

/// The readers that are on this machine; those that are not are named.
fn readers() -> Vec<Vec<&'static str>> {
    let mut readers = vec![SCHEMAS.to_vec(), [&KUBECTL[..], &["-f"]].concat()];
    readers.retain(|words| {
        let found = which::which(words[0]).is_ok();
        if !found {
            println!("SKIPPED: `{}` is not on this machine", words[0]);
        }
        found
    });
    readers
}

fn read(reader: &[&str], file: &Path) -> Output {
    Command::new(reader[0]).args(&reader[1..]).arg(file).output().unwrap()
}

#[track_caller]
fn is_valid(reader: &[&str], file: &Path) {
    let output = read(reader, file);
    let text = std::fs::read_to_string(file).unwrap();
    let (out, err) = (output.stdout, output.stderr);
    let said = [String::from_utf8_lossy(&out), String::from_utf8_lossy(&err)].concat();
    assert!(output.status.success(), "`{reader:?}` refuses:\n{text}\n{said}");
}

#[test]
fn a_generated_workspace_is_written_as_objects_that_the_schemas_and_kubectl_know() {
    let readers = readers();
    // Beside the shop: copies, two ports, a log as the only probe, a number as a value.
    let till = "[package.metadata.service]\nname = \"till\"\nports = { http = 0, \
                a-very-long-name-of-a-port = 0 }\ndepends-on = [\"counter\"]\n\
                deploy = { replicas = 3 }\nready = { log = \"ready\" }\nrestart = \"always\"\n\
                env = { COUNT = \"7\", ON = \"yes\", EMPTY = \"\", DB_PASSWORD = \"a: b\" }\n";
    let till = PackageSpec::new("till", "till").bin("tilld", "fn main() {}").metadata(till);
    let fixture = shop("Export objects", 0).package(till).write();
    let Some(_made) = Made::in_workspace(&fixture.root()) else { return };
    let out = fixture.root().join("out");
    fixture.xtask(&["export", "kubernetes", "--output", &out.to_string_lossy()]).ends_with(0);
    let objects = out.join("kubernetes.yaml");
    let secrets = out.join("secrets.yaml");
    let text = std::fs::read_to_string(&objects).unwrap();
    for reader in readers {
        is_valid(&reader, &objects);
        is_valid(&reader, &secrets);
        // They would say so if it were not.
        let wrong = out.join("wrong.yaml");
        std::fs::write(&wrong, text.replace("replicas: 3", "replicas: many")).unwrap();
        assert!(!read(&reader, &wrong).status.success(), "`{reader:?}` refuses nothing");
    }
}
