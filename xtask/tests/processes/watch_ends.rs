//! The watcher as a process: when it begins and ends, what it costs, and the surroundings in which
//! it must neither lose an edit nor build in a loop.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually, signal};

use crate::watched::{PATIENCE, Watched, shared_and_services};

fn watcher(watched: &Watched) -> i32 {
    let pid = watched.state().expect("a watcher")["pid"].as_i64().unwrap();
    i32::try_from(pid).unwrap()
}

fn one() -> Fixture {
    stand(&[("a", SERVE, "port = 0\n")]).write()
}

#[test]
fn watcher_ends_with_the_stack() {
    let watched = Watched::detached(one());
    watched.fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(watched.fixture.processes(), []);
}

#[test]
fn watcher_ends_with_a_killed_supervisor_and_guardian() {
    let watched = Watched::detached(one());
    let pids = [watched.fixture.supervisor(), watched.fixture.guardian()];
    pids.into_iter().for_each(|pid| signal(pid, libc::SIGKILL));
    watched.fixture.is_quiet();
}

#[test]
fn killed_watcher_leaves_no_compiler_and_no_state() {
    let watched = Watched::detached(shared_and_services());
    let began = watched.fixture.out().join("began");
    let script = format!(
        "fn main() {{ std::fs::write({began:?}, \"\").unwrap(); loop {{ std::thread::park() }} }}"
    );
    watched.write("apps/desk/build.rs", &script);
    eventually(PATIENCE, "the build script", || began.exists().then_some(()));
    signal(watcher(&watched), libc::SIGKILL);
    eventually(PATIENCE, "the end of the build", || {
        let processes = watched.fixture.processes();
        let builds = processes.iter().any(|found| found.command.contains("build-script"));
        (!builds && watched.state().is_none()).then_some(())
    });
    // The flag is kept, so the next `up` watches again.
    watched.write("apps/desk/build.rs", "fn main() {}\n");
    watched.fixture.xtask(&["up", "-d"]).ends_with(0).says("Keeping --watch");
    assert!(watched.state().is_some());
}

#[test]
fn flag_and_metadata_turn_watching_on_and_off() {
    let fixture = one();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let watched = Watched { fixture };
    assert!(watched.state().is_none(), "off unless asked for");
    watched.fixture.xtask(&["up", "-d", "--watch"]).ends_with(0);
    let first = watcher(&watched);
    watched.fixture.xtask(&["status"]).ends_with(0).says("Watch: ");
    watched.fixture.xtask(&["up", "-d"]).ends_with(0).says("Keeping --watch");
    let second = watcher(&watched);
    assert_ne!(first, second, "each `up` watches with its own environment");
    eventually(PATIENCE, "the end of the first watcher", || {
        watched.fixture.processes().iter().all(|found| found.pid != first).then_some(())
    });
    watched.fixture.xtask(&["up", "-d", "--no-watch"]).ends_with(0);
    assert!(watched.state().is_none());
    watched.fixture.xtask(&["up", "-d"]).ends_with(0).says("Keeping --no-watch");
    watched.fixture.xtask(&["down"]).ends_with(0);
    let text = watched.fixture.text("Cargo.toml");
    watched.write("Cargo.toml", &format!("{text}\n[workspace.metadata.xtask]\nwatch = true\n"));
    watched.fixture.xtask(&["up", "-d"]).ends_with(0).says("Watching");
    assert!(watched.state().is_some());
    watched.fixture.xtask(&["up", "-d", "--no-watch"]).ends_with(0);
    assert!(watched.state().is_none());
    watched.fixture.xtask(&["up", "-d", "--reset"]).ends_with(0);
    assert!(watched.state().is_some(), "the metadata counts again");
}

#[test]
fn build_has_the_environment_of_the_command() {
    let source = SERVICE.replace("\"listening\"", "\"made with {:?}\", option_env!(\"MADE_WITH\")");
    let fixture = Fixture::new("made")
        .package(
            PackageSpec::new("desk", "desk")
                .bin("deskd", &source)
                .metadata("[package.metadata.service]\nport = 0\n"),
        )
        .write();
    let up = fixture.spawn_with(&["up", "-d", "--watch"], |command| {
        command.env("MADE_WITH", "love");
    });
    up.wait(PATIENCE).ends_with(0);
    let watched = Watched { fixture };
    watched.is_idle();
    let before = watched.runs(&["desk"])[0];
    watched.edit("desk/src/bin/deskd.rs", "made with", "edited with");
    watched.replaced("desk", before);
    let logs = watched.fixture.xtask(&["logs", "desk"]).stdout;
    assert!(logs.contains("edited with Some(\"love\")"), "{logs}");
}

fn git(root: &Path, words: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]);
    let ran = git.args(words).current_dir(root).output().expect("git");
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn branch_with_other_services_is_followed_and_back() {
    let fixture = shared_and_services();
    fixture.file(".gitignore", "target\n");
    let root = fixture.root();
    git(&root, &["init", "-q"]);
    fixture.xtask(&["check"]).ends_with(0);
    assert!(
        Command::new("cargo")
            .args(["generate-lockfile", "--offline"])
            .current_dir(&root)
            .status()
            .unwrap()
            .success()
    );
    git(&root, &["add", "-A"]);
    git(&root, &["commit", "-qm", "first"]);
    git(&root, &["switch", "-qc", "other"]);
    let manifest = fixture.text("Cargo.toml").replace("\"apps/desk\"", "\"apps/blog\"");
    fs::rename(root.join("apps/desk"), root.join("apps/blog")).unwrap();
    fs::rename(root.join("apps/blog/src/bin/deskd.rs"), root.join("apps/blog/src/bin/blogd.rs"))
        .unwrap();
    fixture.file("Cargo.toml", &manifest);
    let blog = fixture.text("apps/blog/Cargo.toml").replace("desk", "blog");
    fixture.file("apps/blog/Cargo.toml", &blog);
    let lock = fixture.text("Cargo.lock");
    assert!(
        Command::new("cargo")
            .args(["generate-lockfile", "--offline"])
            .current_dir(&root)
            .status()
            .unwrap()
            .success()
    );
    assert_ne!(fixture.text("Cargo.lock"), lock);
    git(&root, &["add", "-A"]);
    git(&root, &["commit", "-qm", "second"]);
    git(&root, &["switch", "-q", "main"]);

    let watched = Watched::detached(fixture);
    let data = watched.fixture.state();
    let before = watched.runs(&["shop", "stock"]);
    git(&root, &["switch", "-q", "other"]);
    watched.ready("blog");
    watched.gone("desk");
    git(&root, &["switch", "-q", "main"]);
    watched.ready("desk");
    watched.gone("blog");
    assert_eq!(watched.runs(&["shop", "stock"]), before);
    let processes = watched.fixture.processes();
    assert!(!processes.iter().any(|found| found.command.contains("blogd")), "{processes:#?}");
    assert!(data.exists());
}

#[test]
fn generated_source_starts_no_loop() {
    // The script writes another text in each build, as one with a time in it does.
    let script = "fn main() {\n    let path = \"src/generated.rs\";\n    \
        let count = std::fs::read_to_string(path).unwrap_or_default().len();\n    \
        let text = format!(\"// {}\\npub const X: u32 = 1;\\n\", \"x\".repeat(count));\n    \
        std::fs::write(path, text).unwrap();\n}\n";
    let source = format!("#[path = \"../generated.rs\"]\nmod generated;\n{SERVICE}")
        .replace("\"listening\"", "\"listening {}\", generated::X");
    let fixture = Fixture::new("generated")
        .package(
            PackageSpec::new("desk", "desk")
                .bin("deskd", &source)
                .metadata("[package.metadata.service]\nport = 0\n"),
        )
        .write();
    fixture.file("desk/build.rs", script);
    let watched = Watched::detached(fixture);
    watched.edit("desk/src/bin/deskd.rs", "\"listening", "\"edited");
    watched.log("Ignoring");
    watched.is_idle();
    let before = watched.runs(&["desk"])[0];
    watched.edit("desk/src/bin/deskd.rs", "\"edited", "\"again");
    watched.replaced("desk", before);
    watched.is_idle();
    let log = watched.whole_log();
    assert_eq!(log.matches("Ignoring").count(), 1, "{log}");
}

#[test]
fn deleted_package_that_returns_is_followed() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["shop", "stock", "desk"]);
    let [folder, aside] = ["libs/shared", "aside"].map(|name| watched.fixture.root().join(name));
    let aside = watched.fixture.out().join(aside.file_name().unwrap());
    fs::rename(&folder, &aside).unwrap();
    watched.broken();
    assert_eq!(watched.runs(&["shop", "stock", "desk"]), before);
    fs::rename(&aside, &folder).unwrap();
    watched.is_idle();
    watched.edit("libs/shared/src/lib.rs", "one", "two");
    watched.replaced("shop", before[0]);
    watched.replaced("stock", before[1]);
}

#[test]
fn many_files_at_once_are_all_built() {
    let watched = Watched::detached(shared_and_services());
    let before = watched.runs(&["shop"])[0];
    let modules: String = (0..100).map(|n| format!("pub mod m{n};\n")).collect();
    let sum: Vec<String> = (0..100).map(|n| format!("m{n}::X")).collect();
    for n in 0..100 {
        watched.write(&format!("libs/shared/src/m{n}.rs"), "pub const X: u32 = 1;\n");
    }
    let sum = sum.join(" + ");
    let word = format!("{modules}pub fn word() -> String {{ ({sum} + 0u32).to_string() }}\n");
    watched.write("libs/shared/src/lib.rs", &word);
    watched.replaced("shop", before);
    for n in 0..100 {
        watched.write(&format!("libs/shared/src/m{n}.rs"), "pub const X: u32 = 2;\n");
    }
    eventually(PATIENCE, "the sum of all edits", || {
        watched.fixture.xtask(&["logs", "shop"]).stdout.contains("listening 200").then_some(())
    });
}

#[test]
fn watcher_reports_that_cargo_waits_for_a_lock() {
    let watched = Watched::detached(shared_and_services());
    let gate = watched.fixture.out().join("gate");
    let began = watched.fixture.out().join("began");
    // A build by hand in the same target directory, of a package that is no service.
    let hand = PackageSpec::new("hand", "hand").lib("");
    hand.write(&watched.fixture.out());
    let folder = watched.fixture.out().join("hand");
    let script = format!(
        "fn main() {{\n    std::fs::write({began:?}, \"\").unwrap();\n    \
         for _ in 0..9_000 {{\n        \
         if std::path::Path::new({gate:?}).exists() {{ return }}\n        \
         std::thread::sleep(std::time::Duration::from_millis(10));\n    }}\n}}\n"
    );
    fs::write(folder.join("build.rs"), script).unwrap();
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    fs::write(folder.join("Cargo.toml"), format!("{manifest}[workspace]\n")).unwrap();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--offline"]).current_dir(&folder);
    let mut build =
        cargo.env("CARGO_TARGET_DIR", watched.fixture.root().join("target")).spawn().unwrap();
    eventually(PATIENCE, "the build by hand", || began.exists().then_some(()));
    let before = watched.runs(&["desk"])[0];
    watched.edit("apps/desk/src/bin/deskd.rs", "\"listening\"", "\"edited\"");
    eventually(PATIENCE, "a blocked watcher", || {
        (watched.state()?["state"]["phase"] == "blocked").then_some(())
    });
    watched.log("Blocking waiting for file lock");
    fs::write(&gate, "").unwrap();
    assert!(build.wait().unwrap().success());
    watched.replaced("desk", before);
}

/// The processor time of a process, in ticks of 10 ms, with that of its ended children.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn idle_watcher_of_many_files_uses_no_processor_time() {
    let fixture = one();
    for folder in 0..100 {
        for file in 0..100 {
            fixture.file(&format!("assets/{folder}/{file}.txt"), "");
        }
    }
    let watched = Watched::detached(fixture);
    let pid = watcher(&watched);
    let before = ticks(pid);
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(ticks(pid), before);
}

#[test]
fn used_up_inotify_limit_is_reported_and_polled() {
    // A user namespace has a limit of its own.
    let limited = "echo 2 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    let mut probe = Command::new("unshare");
    let probe = probe.args(["-Ur", "sh", "-c", limited, "true"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        xtask_client::harness::skipped("no user namespace with an inotify limit of its own");
        return;
    }
    let fixture = shared_and_services();
    let tool = xtask_test_support::tool().display().to_string();
    let words = ["-Ur", "sh", "-c", limited, &tool, "up", "-d", "--watch"];
    let mut unshare = Command::new("unshare");
    let whole = fixture.command();
    unshare.current_dir(fixture.root()).env_clear();
    unshare.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let up = unshare.args(words).output().unwrap();
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let watched = Watched { fixture };
    watched.log("fs.inotify.max_user_watches");
    watched.is_idle();
    watched.fixture.xtask(&["status"]).ends_with(0).says("it polls");
    let before = watched.runs(&["desk"])[0];
    watched.edit("apps/desk/src/bin/deskd.rs", "\"listening\"", "\"edited\"");
    watched.replaced("desk", before);
}
