//! Workspaces and state that the user did not write: looking at them runs nothing of theirs, and
//! broken records harm nothing.

use std::fs;
use std::process::{Child, Command};

use serde_json::json;
use xtask_client::StackPaths;
use xtask_test_support::Fixture;
use xtask_test_support::stand::{SERVE, stand};

#[test]
fn looking_at_a_workspace_runs_nothing_of_it() {
    let fixture = Fixture::new("untrusted").write();
    let ran = fixture.root().join("ran");
    let trap = format!("echo \"$0\" >> '{}'", ran.display());
    let in_metadata = trap.replace('$', "$$");
    let shell = |name: &str| format!("[\"sh\", \"-c\", {in_metadata:?}, {name:?}]");
    fixture.file(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"m\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n\
             [package.metadata.service]\nbin = \"m\"\nport = 0\n\
             [workspace.metadata.services.s]\ncommand = {}\nready = {{ command = {} }}\n",
            shell("command"),
            shell("ready"),
        ),
    );
    fixture.file("src/main.rs", "fn main() {}\n");
    let build = format!("fn main() {{ std::fs::write({ran:?}, \"build script\").unwrap() }}\n");
    fixture.file("build.rs", &build);
    fixture.file("wrapper", &format!("#!/bin/sh\n{trap}\nexec \"$@\"\n"));
    let wrapper = fixture.root().join("wrapper");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&wrapper, mode).unwrap();
    fixture.file(
        ".cargo/config.toml",
        &format!("[build]\nrustc-wrapper = {wrapper:?}\n[alias]\nmetadata = \"run\"\n"),
    );
    fixture.file("rust-toolchain", "stable\n");
    let looks = [
        &["check"][..],
        &["graph"],
        &["explain", "s"],
        &["explain", "m"],
        &["status"],
        &["status", "--all"],
        &["logs"],
        &["down"],
        &["down", "--data"],
        &["env", "s"],
    ];
    for args in looks {
        fixture.xtask(args);
        let found = fs::read_to_string(&ran).unwrap_or_default();
        assert_eq!(found, "", "{args:?} executed it");
    }
    // The trap works.
    fixture.xtask(&["up", "-d", "--no-build", "s"]);
    assert!(fs::read_to_string(&ran).unwrap().contains("command"));
}

#[test]
fn line_break_in_a_value_forges_no_line() {
    let fixture = Fixture::new("forged").write();
    let forged = "x\\nerror: forged\\u001b]52;c;x\\u0007\\u009b2J\\u202e";
    fixture.file(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"m\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n\
             [workspace.metadata.services.program]\ncommand = [\"{forged}\"]\n\
             [workspace.metadata.services.line]\ncommand = [\"sleep\", \"600\"]\n\
             ready = {{ log = \"{forged}\" }}\nenv = {{ VALUE = \"{forged}\" }}\n\
             start-timeout = \"300ms\"\n\
             [workspace.metadata.services.probe]\ncommand = [\"sleep\", \"600\"]\n\
             ready = {{ command = [\"false\", \"{forged}\"] }}\nstart-timeout = \"300ms\"\n",
        ),
    );
    fixture.file("src/lib.rs", "");
    for args in [
        &["up", "-d"][..],
        &["status"],
        &["status", "--json"],
        &["explain", "program"],
        &["explain", "line"],
        &["explain", "probe"],
        &["explain", "line", "--json"],
        &["up", "--dry-run"],
        &["graph"],
        &["check"],
        &["logs"],
        &["restart", "probe"],
        &["wait", "line", "--timeout", "100ms"],
        &["down"],
    ] {
        let ran = fixture.xtask(args);
        let printed = format!("{}\n{}", ran.stdout, ran.stderr);
        assert!(!printed.lines().any(|line| line.starts_with("error: forged")), "{args:?}: {ran}");
        let acts = |c: char| c != '\n' && c != '\t' && c.is_control() || c == '\u{202e}';
        assert!(!printed.contains(acts), "{args:?}: {ran}");
    }
}

struct Bystander(Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn hostile_records_harm_no_process_and_no_folder() {
    let fixture = stand(&[("plain", SERVE, "port = 0\n")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let workspace = fixture.state().join(xtask_client::workspace_name(&fixture.root()));
    let paths = StackPaths::at(workspace.join("dev"));
    let mut command = Command::new("sleep");
    command.arg("600").env_clear().env("XTASK_MARK", "other.1f:a:1").current_dir("/");
    let mut bystander = Bystander(command.spawn().unwrap());
    let kept = fixture.root().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("control"), "").unwrap();
    let pid = bystander.0.id();
    let endpoint = |pid: u64| json!({ "pid": pid, "socket": kept.join("control") }).to_string();
    let deep = "[".repeat(100_000);
    let contents: [Vec<u8>; 9] = [
        Vec::new(),
        b"\xff\xfe\0".to_vec(),
        b"null".to_vec(),
        b"{\"marks\":[\"\",\":\",\".\",\"other\"],\"pid\":-1,\"socket\":7}".to_vec(),
        endpoint(u64::from(pid)).into_bytes(),
        endpoint(0).into_bytes(),
        endpoint(1).into_bytes(),
        endpoint(u64::from(u32::MAX)).into_bytes(),
        deep.into_bytes(),
    ];
    let files = [
        paths.endpoint(),
        paths.died_endpoint(),
        paths.marks(),
        paths.engine_record(),
        workspace.join("workspace.json"),
    ];
    for (number, content) in contents.into_iter().enumerate() {
        files.iter().for_each(|file| fs::write(file, &content).unwrap());
        for args in [&["status"][..], &["logs"], &["explain", "plain"], &["down"]] {
            let ran = fixture.xtask(args);
            assert!([Some(0), Some(1), Some(7)].contains(&ran.code), "{number}: {ran}");
        }
        assert_eq!(bystander.0.try_wait().unwrap(), None, "{number}");
        assert!(kept.join("control").exists(), "{number}");
        let _ = fs::remove_file(paths.engine_record());
        fixture.xtask(&["up", "-d"]).ends_with(0);
        fixture.xtask(&["down"]).ends_with(0);
    }
}
