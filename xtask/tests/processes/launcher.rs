//! The alias `cargo xtask` and its launcher, in front of a tool that prints its arguments.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use toml_edit::DocumentMut;
use xshell::cmd;
use xtask_test_support::{Fixture, PackageSpec, Ran, Running, shell};

/// How long a build beside other tests may take.
const BUILD: Duration = Duration::from_secs(60);

const TOOL: &str = r#"
fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    println!("first build: {}", args.join(" "));
    println!("loader: {:?}", std::env::var("LD_LIBRARY_PATH"));
    while args == ["up", "--hold"] {
        std::thread::park();
    }
}
"#;

fn fixture() -> Fixture {
    let launcher = PackageSpec::new("xtask/launcher", "xtask-launcher")
        .bin("xtask-launcher", include_str!("../../launcher/src/main.rs"));
    let tool = PackageSpec::new("xtask", "xtask").bin("xtask", TOOL);
    let fixture = Fixture::new("launched").package(tool).package(launcher).write();
    let config = include_str!("../../../.cargo/config.toml");
    fixture.file(".cargo/config.toml", config);
    for (name, text) in [
        ("inherited", include_str!("../../control/src/inherited.rs")),
        ("services", include_str!("../../launcher/src/services.rs")),
        ("sources", include_str!("../../control/src/sources.rs")),
    ] {
        fixture.file(&format!("xtask/launcher/src/bin/{name}.rs"), text);
    }
    fixture
}

/// Starts `cargo xtask` in a folder below the root.
fn start(fixture: &Fixture, folder: &str, args: &[&str]) -> Running {
    start_with(fixture, folder, args, &[])
}

/// The same with these variables.
fn start_with(
    fixture: &Fixture,
    folder: &str,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Running {
    let mut cargo = Command::new("cargo");
    cargo.env_clear().arg("xtask").current_dir(fixture.root().join(folder));
    let environment = fixture.command();
    cargo.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    cargo.envs(variables.iter().copied());
    let output = fixture.out().join(args[0]);
    Running::start(cargo, args, output)
}

fn xtask(fixture: &Fixture, folder: &str, args: &[&str]) -> Ran {
    start(fixture, folder, args).wait(BUILD)
}

#[test]
fn stack_commands_run_the_tool_of_the_last_build() {
    let fixture = fixture();
    xtask(&fixture, "", &["status"]).ends_with(0).says("first build: status");
    fixture.edit("xtask/src/bin/xtask.rs", "first build", "second build");
    let status = xtask(&fixture, "xtask/src", &["logs", "-f"]).ends_with(0);
    let status = status.says("first build: logs -f").says("its sources have changed");
    assert!(!status.stdout.contains("launcher"), "{status}");

    fixture.edit("xtask/src/bin/xtask.rs", "let args", "let broken: u32 = \"\"; let args");
    xtask(&fixture, "", &["up"]).ends_with(101).says("mismatched types");
    xtask(&fixture, "", &["down"]).ends_with(0).says("first build: down");
    fixture.edit("xtask/src/bin/xtask.rs", "let broken: u32 = \"\"; ", "");
    xtask(&fixture, "xtask", &["up", "-d"]).ends_with(0).says("second build: up -d");
}

/// Adds a package with a service to the workspace.
fn add_service(fixture: &Fixture, name: &str, source: &str) {
    fixture.file(&format!("{name}/src/main.rs"), source);
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [package.metadata.service]\n"
    );
    fixture.file(&format!("{name}/Cargo.toml"), &manifest);
    fixture.edit("Cargo.toml", "members = [", &format!("members = [\"{name}\", "));
}

#[test]
fn first_up_builds_tool_and_services_in_one_call() {
    let fixture = fixture();
    for name in ["one", "spare"] {
        add_service(&fixture, name, "fn main() {}");
    }
    let root = fs::read_to_string(fixture.root().join("Cargo.toml")).unwrap();
    let default = "[workspace.metadata.xtask]\ndefault = [\"one\"]\n";
    fixture.file("Cargo.toml", &format!("{root}\n{default}"));
    let built = |name: &str| fixture.root().join("target/debug").join(name).exists();

    let up = xtask(&fixture, "", &["up", "-d"]).ends_with(0).says("first build: up -d");
    // Both are built before the tool starts, and no further call of cargo starts it.
    assert_eq!(up.stderr.matches("Finished").count(), 1, "{up}");
    assert!(!up.stderr.contains("Running"), "{up}");
    assert!(built("one") && !built("spare"), "{up}");

    // Later ones leave the services to the tool.
    fs::remove_file(fixture.root().join("target/debug/one")).unwrap();
    xtask(&fixture, "", &["up", "-d"]).ends_with(0);
    assert!(!built("one"));
}

#[test]
fn broken_service_does_not_keep_the_tool_from_starting() {
    let fixture = fixture();
    add_service(&fixture, "one", "fn main() { missing() }");
    let up = xtask(&fixture, "", &["up", "-d"]).ends_with(0);
    up.says("cannot find function `missing`").says("first build: up -d");
}

#[test]
fn stack_commands_work_after_cargo_clean() {
    let fixture = fixture();
    let supervisor = start(&fixture, "", &["up", "--hold"]);
    supervisor.says(BUILD, "first build: up --hold");
    fs::remove_dir_all(fixture.root().join("target")).unwrap();
    fixture.edit("xtask/src/bin/xtask.rs", "let args", "let broken: u32 = \"\"; let args");
    xtask(&fixture, "", &["down"]).ends_with(0).says("first build: down");
}

#[test]
fn stack_commands_do_not_wait_for_a_build() {
    let fixture = fixture();
    xtask(&fixture, "", &["up"]).ends_with(0);
    let lock = File::open(fixture.root().join("target/debug/.cargo-lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();

    let up = start(&fixture, "", &["up"]);
    up.says(BUILD, "Blocking waiting for file lock");
    for args in [&["status"][..], &["logs"], &["down"], &["wait"], &["restart", "--no-build"]] {
        xtask(&fixture, "", args).ends_with(0).says(&format!("first build: {}", args.join(" ")));
    }
    flock(&lock, FlockOperation::Unlock).unwrap();
    up.wait(BUILD).ends_with(0);
}

#[test]
fn launcher_finds_the_tool_in_any_target_directory() {
    let fixture = fixture();
    let shell = shell(fixture.root());
    let version = cmd!(shell, "rustc -vV").read().unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    fixture.file("xtask/.cargo/config.toml", &format!("[build]\ntarget = \"{host}\"\n"));
    let settings = [("CARGO_TARGET_DIR", "there")];
    start_with(&fixture, "xtask", &["up"], &settings).wait(BUILD).ends_with(0);
    fixture.edit("xtask/src/bin/xtask.rs", "first build", "second build");
    let status = start_with(&fixture, "xtask", &["status"], &settings).wait(BUILD);
    status.ends_with(0).says("first build: status");
    assert!(fixture.root().join("xtask/there").exists() && !fixture.root().join("there").exists());
}

#[test]
fn launcher_has_no_dependencies() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("launcher/Cargo.toml");
    let manifest: DocumentMut = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let tables = manifest.iter().filter(|(table, _)| table.contains("dependencies"));
    assert_eq!(tables.count(), 0, "{manifest}");
}
