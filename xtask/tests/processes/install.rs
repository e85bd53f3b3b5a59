//! `install` and `uninstall` in workspaces of many shapes. Nothing of the tool is built here, which
//! takes minutes; the tier `installed` does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use xshell::cmd;
use xtask_test_support::{Fixture, PackageSpec, Ran, Running, shell};

/// How long one command of the launcher may take beside other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// A workspace with one service, as `manifest` declares it, in a git repository.
fn host(name: &str, manifest: &str) -> Fixture {
    let api = PackageSpec::new("services/api", "api").bin("api", "fn main() {}");
    let fixture = Fixture::new(name).package(api).write();
    if !manifest.is_empty() {
        fixture.file("Cargo.toml", manifest);
    }
    fixture.file(".gitignore", "target\n");
    fixture
}

/// Commits everything, with the lock file that cargo makes unless there is one.
fn commit(fixture: &Fixture) {
    let shell = shell(fixture.root());
    cmd!(shell, "cargo metadata --offline --format-version 1 --quiet")
        .ignore_stdout()
        .run()
        .unwrap();
    cmd!(shell, "git init --quiet").run().unwrap();
    cmd!(shell, "git add --all").run().unwrap();
    let identity = ["-c", "user.name=host", "-c", "user.email=host@localhost"];
    cmd!(shell, "git {identity...} commit --quiet --message host").run().unwrap();
}

fn changes(fixture: &Fixture) -> String {
    let shell = shell(fixture.root());
    cmd!(shell, "git status --porcelain").read().unwrap()
}

/// What cargo would build and with which versions, without the launcher.
fn plan(fixture: &Fixture) -> String {
    let shell = shell(fixture.root());
    let tree =
        cmd!(shell, "cargo tree --offline --workspace --prefix none --edges features,normal");
    let tree = tree.ignore_stderr().read().unwrap();
    let lines = tree.lines().filter(|line| !line.is_empty() && !line.starts_with("xtask v0.0.0"));
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn installs_without_a_trace(fixture: &Fixture) {
    commit(fixture);
    let before = plan(fixture);
    fixture.xtask(&["install"]).ends_with(0).says("Installed");
    assert_eq!(plan(fixture), before);
    let shell = shell(fixture.root());
    let metadata = cmd!(shell, "cargo metadata --offline --locked --no-deps --format-version 1");
    let output = metadata.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    cmd!(shell, "cargo build --offline --locked --quiet").run().unwrap();
    let is_ignored = cmd!(shell, "git status --porcelain --untracked-files=all").read().unwrap();
    assert!(is_ignored.contains("xtask/installed.json"), "{is_ignored}");
    fixture.xtask(&["install"]).ends_with(0).says("Unchanged");
    fixture.xtask(&["uninstall"]).ends_with(0).says("Removed");
    assert_eq!(changes(fixture), "");
    assert!(!fixture.root().join("xtask").exists());
}

#[test]
fn uninstall_restores_workspaces_of_every_layout() {
    for (name, manifest) in [
        ("explicit", ""),
        (
            "commented",
            "[workspace]\nresolver = \"2\"\nmembers = [\n  \"services/api\", # ours\n]\n",
        ),
        ("windows", "[workspace]\r\nresolver = \"2\"\r\nmembers = [\"services/api\"]\r\n"),
        (
            "strict",
            "[workspace]\nresolver = \"3\"\nmembers = [\"services/api\"]\n\n[workspace.lints.rust]\n\
             unsafe_code = \"forbid\"\nmissing_docs = \"deny\"\n",
        ),
    ] {
        let fixture = host(name, manifest);
        if name == "commented" {
            let config = "# ours\n[alias]\nlint = \"clippy\"\n\n[env]\nOUR_SETTING = \"1\"\n";
            fixture.file(".cargo/config.toml", config);
        }
        installs_without_a_trace(&fixture);
    }
}

#[test]
fn single_package_stays_one_package() {
    let fixture = host("single", "");
    fs::remove_dir_all(fixture.root().join("services")).unwrap();
    fixture.file("src/main.rs", "fn main() {}\n");
    let manifest = "[package]\nname = \"single\"\nversion = \"1.0.0\"\nedition = \"2018\"\n";
    fixture.file("Cargo.toml", manifest);
    installs_without_a_trace(&fixture);
}

#[test]
fn workspace_below_the_repository_is_restored() {
    let manifest = "[workspace]\nresolver = \"2\"\nmembers = [\"*\"]\nexclude = [\"target\"]\n";
    let fixture = host("nested", manifest);
    let below = fixture.root().join("backend");
    fs::create_dir_all(&below).unwrap();
    for (name, moved) in [("Cargo.toml", "Cargo.toml"), ("services/api", "api")] {
        fs::rename(fixture.root().join(name), below.join(moved)).unwrap();
    }
    let shell = shell(&below);
    cmd!(shell, "cargo metadata --offline --format-version 1 --quiet")
        .ignore_stdout()
        .run()
        .unwrap();
    cmd!(shell, "git init --quiet {below}/..").run().unwrap();
    cmd!(shell, "git add --all ..").run().unwrap();
    let identity = ["-c", "user.name=host", "-c", "user.email=host@localhost"];
    cmd!(shell, "git {identity...} commit --quiet --message host").run().unwrap();
    fixture.xtask(&["install", "backend/api"]).ends_with(0).says("Installed");
    assert!(below.join("xtask/tool/Cargo.lock").exists());
    fixture.xtask(&["uninstall", "backend"]).ends_with(0);
    assert_eq!(changes(&fixture), "");
}

/// A lock file as cargo wrote it in 2019.
const OLD_LOCK: &str = "\
# This file is automatically @generated by Cargo.
# It is not intended for manual editing.
[[package]]
name = \"api\"
version = \"0.0.0\"

";

#[test]
fn rewritten_old_lock_file_is_restored() {
    let manifest = "[workspace]\nmembers = [\"services/api\"]\n";
    let fixture = host("old", manifest);
    fixture.edit("services/api/Cargo.toml", "edition = \"2024\"", "edition = \"2018\"");
    fixture.file("Cargo.lock", OLD_LOCK);
    commit(&fixture);
    assert_eq!(fixture.text("Cargo.lock"), OLD_LOCK);
    fixture.xtask(&["install"]).ends_with(0);
    let shell = shell(fixture.root());
    cmd!(shell, "cargo metadata --offline --format-version 1 --quiet")
        .ignore_stdout()
        .run()
        .unwrap();
    assert!(!fixture.text("Cargo.lock").contains("version = 4"));
    // As a later cargo writes it.
    let header = "manual editing.\n";
    fixture.edit("Cargo.lock", header, &format!("{header}version = 4\n\n"));
    fixture.xtask(&["uninstall"]).ends_with(0);
    assert_eq!(fixture.text("Cargo.lock"), OLD_LOCK);
    assert_eq!(changes(&fixture), "");
}

#[test]
fn edits_of_the_user_survive() {
    let fixture = host("edited", "");
    commit(&fixture);
    fixture.xtask(&["install"]).ends_with(0);
    fixture.edit("Cargo.toml", "resolver = \"3\"", "resolver = \"2\"");
    fixture
        .file(".cargo/config.toml", &(fixture.text(".cargo/config.toml") + "[env]\nX = \"1\"\n"));
    fixture.edit("xtask/tool/xtask/daily/src/lib.rs", "mod ", "// edited\nmod ");
    for command in ["install", "uninstall"] {
        let refused = fixture.xtask(&[command]).ends_with(2);
        refused.says("`xtask/tool/xtask/daily/src/lib.rs`").says("--discard-edits");
    }
    fixture.file("xtask/notes.txt", "mine");
    fixture.xtask(&["install", "--discard-edits"]).ends_with(0).says("Updated");
    assert!(!fixture.text("xtask/tool/xtask/daily/src/lib.rs").contains("// edited"));
    fixture.xtask(&["uninstall"]).ends_with(0).says("`xtask/notes.txt`".trim_matches('`'));
    assert!(fixture.text("Cargo.toml").contains("resolver = \"2\""));
    assert!(!fixture.text("Cargo.toml").contains("xtask"), "{}", fixture.text("Cargo.toml"));
    assert_eq!(fixture.text(".cargo/config.toml").trim(), "[env]\nX = \"1\"");
    assert_eq!(fixture.text("xtask/notes.txt"), "mine");
}

#[test]
fn workspace_with_an_own_tool_is_refused() {
    let refused = |fixture: &Fixture, text: &str| -> Ran {
        commit(fixture);
        let ran = fixture.xtask(&["install"]).ends_with(2).says(text).says("`cargo services up`");
        assert_eq!(changes(fixture), "");
        ran
    };
    let own = host("folder", "");
    own.file("xtask/notes.txt", "ours");
    refused(&own, "a folder `xtask`");
    let own = host("alias", "");
    own.file(".cargo/config.toml", "[alias]\nxtask = \"run -p tasks --\"\n");
    refused(&own, "an alias `xtask`");
    let own = host("package", "");
    own.edit("services/api/Cargo.toml", "name = \"api\"\nversion", "name = \"xtask\"\nversion");
    refused(&own, "a package `xtask` in `services/api`");
    let own = host("target", "");
    own.file(".cargo/config.toml", "[build]\ntarget = \"wasm32-unknown-unknown\"\n");
    refused(&own, "cargo builds for `wasm32-unknown-unknown`");
    let none = host("none", "");
    none.xtask(&["uninstall"]).ends_with(2).says("`cargo xtask install` installs it");
}

#[test]
fn older_toolchain_is_refused() {
    let fixture = host("older", "");
    commit(&fixture);
    let bin = fixture.out().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let rustc = "#!/bin/sh\necho 'release: 1.70.0'\necho 'host: x86_64-unknown-linux-gnu'\n";
    fs::write(bin.join("rustc"), rustc).unwrap();
    fs::set_permissions(bin.join("rustc"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let ran = fixture.spawn_with(&["install"], |command| {
        command.env("PATH", &path);
    });
    let ran = ran.wait(PATIENCE).ends_with(2);
    ran.says("the toolchain of").says("is 1.70.0").says("`cargo services up`");
    assert_eq!(changes(&fixture), "");
}

/// A program that prints its arguments replaces the tool.
#[test]
fn installed_member_builds_and_executes_the_tool() {
    let fixture = host("member", "");
    commit(&fixture);
    fixture.xtask(&["install"]).ends_with(0);
    let tool = fixture.root().join("xtask/tool");
    fs::remove_dir_all(&tool).unwrap();
    let manifest =
        "[workspace]\n[package]\nname = \"xtask\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    fixture.file("xtask/tool/Cargo.toml", manifest);
    let source = "fn main() { println!(\"tool: {:?}\", std::env::args().nth(1)); println!(\"as {}\", \
                  std::env::var(\"XTASK_CALLED_AS\").unwrap()); }";
    fixture.file("xtask/tool/src/main.rs", source);
    let cargo = |args: &[&str], folder: &str| {
        let mut cargo = Command::new("cargo");
        cargo.env_clear().arg("xtask").current_dir(fixture.root().join(folder));
        let environment = fixture.command();
        cargo.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Running::start(cargo, args, fixture.out().join(args[0])).wait(PATIENCE)
    };
    let first = cargo(&["up"], "services/api").ends_with(0);
    first.says("Compiling xtask v0.0.0").says("tool: Some(\"up\")").says("as cargo xtask");
    fixture.edit("xtask/tool/src/main.rs", "tool:", "broken(");
    fixture.edit("xtask/tool/src/main.rs", "fn main", "fn main(");
    cargo(&["status"], "").ends_with(0).says("tool: Some(\"status\")").says("have changed");
    assert!(fixture.root().join("target/xtask-tool/debug/xtask").exists());
    assert!(
        changes(&fixture).lines().all(|line| !line.contains("target")),
        "{}",
        changes(&fixture)
    );
}
