//! No library is compiled twice by `up`, `up --with postgres`, a rare command and `test-e2e`. Tool,
//! services and tests are separate calls of cargo, so a library that two of them use needs the same
//! features in both. The first `up` builds tool and services in one call, with the same features.
//!
//! It reads cargo's messages for the shared target directory, in which everything is already built.
//! It does not check versions.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use e2e::harness::{cargo, workspace_of};
use serde_json::Value;

/// What a library is linked into: a program, or a build script or macro.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Normal,
    Host,
}

/// For each package the builds of its library, and the calls that need each.
type Builds = BTreeMap<String, BTreeMap<Build, BTreeSet<&'static str>>>;

/// A build of a library. The file also differs when only the features of a dependency do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Build {
    features: Vec<String>,
    file: String,
}

#[test]
fn no_library_is_compiled_twice() {
    let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut builds = Builds::new();
    collect(&mut builds, "tool", &root, &["build", "-p", "xtask"]);
    for (call, overlay) in [("services", &[][..]), ("with postgres", &["--with", "postgres"])] {
        let services = services_build(&root, overlay);
        let services: Vec<_> = services.iter().map(String::as_str).collect();
        collect(&mut builds, call, &root, &services);
    }
    let together = ["build", "-p", "xtask"].map(str::to_owned).into_iter();
    let services = services_build(&root, &[]).into_iter().skip(1);
    let together: Vec<String> = together.chain(services).collect();
    let together: Vec<&str> = together.iter().map(String::as_str).collect();
    collect(&mut builds, "tool and services", &root, &together);
    collect(&mut builds, "commands with tests", &root, &["build", "-p", "xtask-testing"]);
    collect(&mut builds, "rare commands", &root, &["build", "-p", "cargo-services"]);
    collect(&mut builds, "tests", &root, &["test", "--no-run", "-p", env!("CARGO_PKG_NAME")]);

    let kinds = kinds(&root, &builds);
    let mut twice = BTreeMap::new();
    for (package, builds) in builds {
        // A call builds a library at most once per kind.
        let allowed = kinds.get(&package).map_or(1, BTreeSet::len);
        if builds.len() > allowed {
            twice.insert(package, builds);
        }
    }
    assert!(
        twice.is_empty(),
        "compiled more than once: {twice:#?}\nhint: if features differ, add the larger set \
         to the Cargo.toml of the package with the smaller one, as `tests/Cargo.toml` does"
    );
}

/// The arguments of cargo by which `up` builds the services, from its plan.
fn services_build(root: &Path, overlay: &[&str]) -> Vec<String> {
    let mut dry_run = cargo(root);
    let output =
        dry_run.args(["xtask", "up", "--dry-run", "--json"]).args(overlay).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let command = plan["build"]["command"].as_array().expect("the plan builds something");
    command.iter().skip(1).map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

/// Adds the libraries that a cargo call built or found built.
fn collect(builds: &mut Builds, call: &'static str, root: &Path, arguments: &[&str]) {
    let output = cargo(root).args(arguments).arg("--message-format=json").output().unwrap();
    assert!(
        output.status.success(),
        "`cargo {}`: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message: Value = serde_json::from_slice(line).unwrap();
        if message["reason"] != "compiler-artifact" || !is_library(&message) {
            continue;
        }
        let features = message["features"].as_array().unwrap();
        let features = features.iter().map(|feature| feature.as_str().unwrap().to_owned());
        // Cargo names the copy of a package that the call selects, which lies outside of `deps`.
        let mut files = message["filenames"].as_array().unwrap().iter().filter_map(Value::as_str);
        let Some(file) = files.find(|file| file.contains("/deps/")) else { continue };
        let file = file.trim_end_matches(".rmeta").trim_end_matches(".rlib").to_owned();
        let build = Build { features: features.collect(), file };
        let package = message["package_id"].as_str().unwrap().to_owned();
        builds.entry(package).or_default().entry(build).or_default().insert(call);
    }
    let built = builds.values().flat_map(BTreeMap::values).any(|calls| calls.contains(call));
    assert!(built, "`cargo {}` built nothing", arguments.join(" "));
}

fn is_library(artifact: &Value) -> bool {
    let kinds = artifact["target"]["kind"].as_array().unwrap();
    let library = |kind: &Value| matches!(kind.as_str(), Some("lib" | "rlib" | "proc-macro"));
    kinds.iter().any(library) && artifact["profile"]["test"] == false
}

/// The kinds of use of each built package.
fn kinds(root: &Path, built: &Builds) -> BTreeMap<String, BTreeSet<Kind>> {
    let host = host_triple(root);
    let arguments = ["metadata", "--format-version", "1", "--filter-platform", &host];
    let output = cargo(root).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let macros: BTreeSet<String> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["targets"].to_string().contains("\"proc-macro\""))
        .map(|package| text(&package["id"]))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (text(&node["id"]), node)).collect();

    let members = metadata["workspace_members"].as_array().unwrap();
    let mut open: Vec<_> = members.iter().map(|member| (text(member), Kind::Normal)).collect();
    let mut found: BTreeMap<String, BTreeSet<Kind>> = BTreeMap::new();
    while let Some((package, kind)) = open.pop() {
        if !found.entry(package.clone()).or_default().insert(kind) {
            continue;
        }
        for dependency in nodes[&package]["deps"].as_array().unwrap() {
            let child = text(&dependency["pkg"]);
            // Cargo also lists disabled optional dependencies.
            if !built.contains_key(&child) {
                continue;
            }
            for edge in dependency["dep_kinds"].as_array().unwrap() {
                let during_build = edge["kind"] == "build" || macros.contains(&child);
                open.push((child.clone(), if during_build { Kind::Host } else { kind }));
            }
        }
    }
    found
}

fn host_triple(root: &Path) -> String {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let output = std::process::Command::new(rustc).arg("-vV").current_dir(root).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.expect("rustc names its host").to_owned()
}
