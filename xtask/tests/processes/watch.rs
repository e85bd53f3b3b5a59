//! `up --watch`: which edits build, which restart, and what a broken edit leaves alone.

use std::fs;
use std::time::Duration;

use xtask_test_support::stand::{SERVE, pid, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually, get_at};

use crate::watched::{PATIENCE, Watched, shared_and_services};

#[test]
fn edit_runs_the_new_program_and_no_other() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["shop", "stock", "desk"]);
    watched.edit("apps/desk/src/bin/deskd.rs", "\"listening\"", "\"new code\"");
    watched.replaced("desk", before[2]);
    assert_eq!(watched.runs(&["shop", "stock"]), before[..2]);
    watched.log("Changed apps/desk/src/bin/deskd.rs (desk)");
}

#[test]
fn edit_of_a_shared_crate_replaces_exactly_its_dependents() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["shop", "stock", "desk"]);
    watched.edit("libs/shared/src/lib.rs", "one", "two");
    watched.replaced("shop", before[0]);
    watched.replaced("stock", before[1]);
    watched.is_idle();
    assert_eq!(watched.runs(&["desk"]), before[2..]);
    watched.log("Changed libs/shared/src/lib.rs (shop, stock)");
}

#[test]
fn comments_tests_and_documents_restart_nothing() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["shop", "stock", "desk"]);
    watched.write("README.md", "# Read me\n");
    watched.write("apps/shop/tests/api.rs", "#[test]\nfn works() {}\n");
    watched.write("apps/shop/README.md", "# Shop\n");
    // The last line, so that no line number moves.
    let source = watched.fixture.text("apps/shop/src/bin/shopd.rs");
    watched.write("apps/shop/src/bin/shopd.rs", &format!("{source}// A comment.\n"));
    watched.log("Compiling");
    watched.settled();
    assert_eq!(watched.runs(&["shop", "stock", "desk"]), before);
    let log = watched.whole_log();
    assert!(!log.contains("README") && !log.contains("api.rs"), "{log}");
}

#[test]
fn broken_build_is_shown_once_and_changes_nothing() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["shop", "stock", "desk"]);
    watched.edit("apps/shop/src/bin/shopd.rs", "fn main() {", "fn main() { oranges();");
    let message = watched.broken();
    assert!(message.contains("oranges") && message.contains("shopd.rs"), "{message}");
    watched.fixture.xtask(&["status"]).ends_with(0).says("Watch: broken: error");
    watched.fixture.xtask(&["logs"]).ends_with(0).says("oranges");
    // A write without a change is no change.
    let source = watched.fixture.text("apps/shop/src/bin/shopd.rs");
    watched.write("apps/shop/src/bin/shopd.rs", &source);
    watched.edit("apps/shop/src/bin/shopd.rs", "oranges();", "println!(\"mended\");");
    watched.replaced("shop", before[0]);
    assert_eq!(watched.runs(&["stock", "desk"]), before[1..]);
    watched.log("Mended");
    watched.is_idle();
    let log = watched.whole_log();
    assert_eq!(log.matches("the build failed").count(), 1, "{log}");
}

#[test]
fn broken_manifest_keeps_the_stack_and_is_mended() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["shop", "stock", "desk"]);
    let text = watched.fixture.text("apps/desk/Cargo.toml");
    watched.write("apps/desk/Cargo.toml", &text.replace("port = 0", "port = \"none\""));
    assert!(watched.broken().contains("port"));
    watched.log("the metadata failed");
    watched.write("apps/desk/Cargo.toml", &text.replace("port = 0", "port = ["));
    watched.log("because the metadata failed");
    watched.write("apps/desk/Cargo.toml", &text);
    watched.is_idle();
    assert_eq!(watched.runs(&["shop", "stock", "desk"]), before);
}

#[test]
fn metadata_edit_adds_changes_and_removes_services() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["shop", "stock", "desk"]);
    let manifest = watched.fixture.text("apps/desk/Cargo.toml");
    let more = "\n[package.metadata.services.admin]\nport = 0\n";
    watched.write("apps/desk/Cargo.toml", &format!("{manifest}{more}"));
    watched.ready("admin");
    watched
        .write("apps/desk/Cargo.toml", &manifest.replace("port = 0", "port = 0\nargs = [\"-x\"]"));
    watched.replaced("desk", before[2]);
    watched.gone("admin");
    assert_eq!(watched.runs(&["shop", "stock"]), before[..2]);
}

#[test]
fn named_files_and_env_files_restart_their_service() {
    let fixture = stand(&[
        ("proxy", SERVE, "port = 0\nwatch = [\"config/*.toml\"]\n"),
        ("other", SERVE, "port = 0\nenv-file = \"other.env\"\n"),
    ])
    .write();
    fixture.file("config/proxy.toml", "a = 1\n");
    fixture.file("other.env", "MODE=one\n");
    let watched = Watched::detached(fixture);
    let before = watched.runs(&["proxy", "other"]);
    watched.write("config/proxy.toml", "a = 2\n");
    watched.replaced("proxy", before[0]);
    let proxy = pid(&watched.fixture, "proxy");
    watched.write("other.env", "MODE=two\n");
    watched.replaced("other", before[1]);
    watched.write("config/deeper/proxy.toml", "a = 3\n");
    watched.settled();
    assert_eq!(pid(&watched.fixture, "proxy"), proxy);
}

#[test]
fn files_that_cargo_lists_count_although_git_ignores_them() {
    let source = SERVICE.replace("\"listening\"", "\"{}\", include_str!(\"../../greeting.txt\")");
    let fixture = Fixture::new("listed")
        .package(
            PackageSpec::new("desk", "desk")
                .bin("deskd", &source)
                .metadata("[package.metadata.service]\nport = 0\n"),
        )
        .write();
    fixture.file("desk/greeting.txt", "hello");
    fixture.file(".gitignore", "*.txt\ntarget\n");
    fs::create_dir(fixture.root().join(".git")).unwrap();
    let watched = Watched::detached(fixture);
    let before = watched.runs(&["desk"]);
    watched.write("desk/greeting.txt", "good evening");
    watched.replaced("desk", before[0]);
    assert!(watched.fixture.xtask(&["logs", "desk"]).stdout.contains("good evening"));
}

#[test]
fn edit_during_a_build_is_built_right_after() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["desk"]);
    // The build waits in the build script until the test opens the gate.
    let gate = watched.fixture.out().join("gate");
    let began = watched.fixture.out().join("began");
    let script = format!(
        "fn main() {{\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
         std::fs::write({began:?}, \"\").unwrap();\n    \
         for _ in 0..9_000 {{\n        \
         if std::path::Path::new({gate:?}).exists() {{ return }}\n        \
         std::thread::sleep(std::time::Duration::from_millis(10));\n    }}\n}}\n"
    );
    watched.write("apps/desk/build.rs", &script);
    eventually(PATIENCE, "the build script", || began.exists().then_some(()));
    watched.edit("apps/shop/src/bin/shopd.rs", "\"listening ", "\"during ");
    fs::write(&gate, "").unwrap();
    eventually(PATIENCE, "the edit during the build", || {
        watched.fixture.xtask(&["logs", "shop"]).stdout.contains("during").then_some(())
    });
    watched.is_idle();
    assert_eq!(watched.runs(&["desk"]).len(), before.len());
}

#[test]
fn foreground_follows_edits_after_a_broken_start() {
    let fixture = shared_and_services();
    fixture.edit("apps/desk/src/bin/deskd.rs", "fn main() {", "fn main() { oranges();");
    let up = fixture.spawn(&["up", "--watch"]);
    up.says(PATIENCE, "oranges");
    up.says(PATIENCE, "Watching");
    fixture.edit("apps/desk/src/bin/deskd.rs", "oranges();", "");
    eventually(PATIENCE, "`desk` ready", || {
        let status = fixture.xtask(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).ok()?;
        let services = status["services"].as_array()?.clone();
        services.iter().any(|s| s["name"] == "desk" && s["phase"] == "ready").then_some(())
    });
    let url = fixture.service("desk")["url"].as_str().unwrap().to_owned();
    assert_eq!(get_at(&url, "/").unwrap().status, 200);
    up.signal(libc::SIGINT);
    up.wait(Duration::from_secs(60)).ends_with(130);
    fixture.is_quiet();
}
