//! `test-e2e`, `test` and `ci` on a workspace whose tests pass, fail, or never end.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use xtask_test_support::{Fixture, PackageSpec, Ran, Running, SERVICE, eventually};

/// The tests of the generated workspace. The stack's folder tells that one is attached.
const TESTS: &str = r#"
#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    fn stack() -> PathBuf {
        std::env::var_os("XTASK_STACK_DIR").expect("a stack is named").into()
    }

    fn until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !what() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_stack_is_up() {
        let log = std::fs::read_to_string(stack().join("logs/greeter.log")).unwrap();
        assert!(log.contains("listening"));
    }

    #[test]
    fn plums_are_out() {
        let file = std::env::var("SKIPPED_TESTS").expect("a file is named");
        std::fs::write(file, "plums\tplums_are_out\n").unwrap();
    }

    #[test]
    fn apples_are_pears() {
        assert_eq!("apples", "pears");
    }

    #[test]
    fn the_fuse_burns() {
        let fuse = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuse");
        std::fs::write(&fuse, "").unwrap();
        until(|| !fuse.exists());
    }

    #[test]
    fn it_runs_on_and_on() {
        println!("on and on");
        std::fs::write(stack().join("begun"), "").unwrap();
        until(|| false);
    }
}
"#;

/// Ends with a failure when it finds a file.
const FUSED: &str = r#"
fn main() {
    println!("listening");
    let fuse = std::env::var("FUSE").unwrap();
    while std::fs::remove_file(&fuse).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    eprintln!("the fuse has burnt");
    std::process::exit(3);
}
"#;

pub(crate) fn greeter(source: &str, settings: &str) -> Fixture {
    Fixture::new("greetings")
        .package(PackageSpec::new("greeter", "greeter").bin("greeter", source).metadata(&format!(
            "[package.metadata.service]\nenv = {{ FUSE = \"${{workspace.root}}/checks/fuse\" }}\n\
             {settings}"
        )))
        .package(PackageSpec::new("checks", "black-box").lib(TESTS))
        .workspace("[workspace.metadata.xtask]\ne2e = \"black-box\"\n")
        .write()
}

/// The folders of stacks that test runs left.
pub(crate) fn left_behind(fixture: &Fixture) -> Vec<PathBuf> {
    let workspaces = std::fs::read_dir(fixture.state()).unwrap().flatten();
    let stacks = workspaces.flat_map(|entry| std::fs::read_dir(entry.path()).unwrap().flatten());
    let stacks = stacks.map(|entry| entry.path());
    stacks.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("e2e-")).collect()
}

/// A `PATH` with every program of this one's, but for nextest.
pub(crate) fn path_without_nextest(fixture: &Fixture) -> PathBuf {
    let folder = fixture.out().join("programs");
    std::fs::create_dir_all(&folder).unwrap();
    for place in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        let Ok(programs) = std::fs::read_dir(place) else { continue };
        for program in programs.flatten().filter(|program| program.file_name() != "cargo-nextest") {
            // The first of a name is the one that counts.
            symlink(program.path(), folder.join(program.file_name())).ok();
        }
    }
    folder
}

#[track_caller]
pub(crate) fn by_cargo(fixture: &Fixture, args: &[&str]) -> Ran {
    let path = path_without_nextest(fixture);
    let run = fixture.spawn_with(args, |command| {
        command.env("PATH", path);
    });
    run.wait(Duration::from_secs(120))
}

#[test]
fn passing_tests_exit_0_and_leave_nothing() {
    let fixture = greeter(SERVICE, "port = 0\n");
    let ran = fixture.xtask(&["test-e2e", "--json", "the_stack"]).ends_with(0).json();
    assert_eq!((&ran["passed"], &ran["ran"]), (&true.into(), &true.into()), "{ran}");
    assert_eq!((&ran["exit_code"], &ran["runner_exit_code"]), (&0.into(), &0.into()), "{ran}");
    assert!(ran["stack"].as_str().unwrap().starts_with("e2e-"), "{ran}");
    fixture.is_quiet();
    assert!(left_behind(&fixture).is_empty());
}

#[test]
fn failing_test_exits_1_and_keeps_logs() {
    let fixture = greeter(SERVICE, "port = 0\n");
    let ran = fixture.xtask(&["test-e2e", "apples"]).ends_with(1);
    let ran = ran.says("apples_are_pears").says("cargo xtask test-e2e apples");
    fixture.is_quiet();
    let left = left_behind(&fixture);
    let logs = left.iter().map(|stack| stack.join("logs"));
    let logs: Vec<_> = logs.filter(|logs| logs.join("greeter.log").exists()).collect();
    assert_eq!(logs.len(), 1, "{left:?}");
    let ran = ran.says(logs[0].to_str().unwrap());
    let (_, command) = ran.stderr.split_once("read the logs: `cargo xtask ").unwrap();
    let (words, _) = command.split_once('`').unwrap();
    fixture.xtask(&words.split(' ').collect::<Vec<_>>()).ends_with(0).says("greeter | ");
}

#[test]
fn unmatched_filter_exits_1_with_either_runner() {
    let fixture = greeter(SERVICE, "port = 0\n");
    fixture.xtask(&["test-e2e", "bananas"]).ends_with(1).says("no test matches `bananas`");
    by_cargo(&fixture, &["test-e2e", "bananas"]).ends_with(1).says("no test matches `bananas`");
    fixture.is_quiet();
    assert!(left_behind(&fixture).is_empty());
}

#[test]
fn without_nextest_cargo_runs_the_tests() {
    let fixture = greeter(SERVICE, "port = 0\n");
    let ran = by_cargo(&fixture, &["test-e2e", "--json", "the_stack"]).ends_with(0);
    assert_eq!(ran.json()["runner"], "cargo test", "{ran}");
    let ran = by_cargo(&fixture, &["test-e2e", "--json", "apples"]).ends_with(1);
    assert_eq!(ran.json()["runner_exit_code"], 101, "{ran}");
    let exact = ["test-e2e", "--", "--exact", "tests::the_stack_is_up"];
    by_cargo(&fixture, &exact).ends_with(0).says("1 passed");
    fixture.is_quiet();
}

#[test]
fn skipped_tests_are_reported_with_either_runner() {
    let fixture = greeter(SERVICE, "port = 0\n");
    for ran in [fixture.xtask(&["test-e2e", "plums"]), by_cargo(&fixture, &["test-e2e", "plums"])] {
        ran.ends_with(0).says("Skipped 1 test without plums");
    }
    let own = fixture.out().join("skipped");
    let ran = fixture.spawn_with(&["test-e2e", "plums"], |command| {
        command.env("SKIPPED_TESTS", &own);
    });
    let ran = ran.wait(Duration::from_secs(120)).ends_with(0);
    assert!(!ran.stderr.contains("Skipped"), "the caller reads its own file: {ran}");
    assert_eq!(std::fs::read_to_string(own).unwrap(), "plums\tplums_are_out\n");
    fixture.is_quiet();
}

#[test]
fn uncompilable_tests_exit_3() {
    let fixture = greeter(SERVICE, "port = 0\n");
    fixture.edit("checks/src/lib.rs", "\"pears\"", "12");
    fixture.xtask(&["test-e2e"]).ends_with(3).says("E0277");
    by_cargo(&fixture, &["test-e2e"]).ends_with(3).says("E0277");
    fixture.file("greeter/src/bin/greeter.rs", "fn main() { let x: u32 = \"apples\"; }");
    by_cargo(&fixture, &["test"]).ends_with(3).says("mismatched types");
    fixture.is_quiet();
}

#[test]
fn service_death_fails_the_tests() {
    let fixture = greeter(FUSED, "");
    let ran = fixture.xtask(&["test-e2e", "--json", "the_fuse"]).ends_with(1);
    let ran = ran.says("service `greeter` crashed in run 1").says("the fuse has burnt");
    let outcome = ran.json();
    assert_eq!(outcome["runner_exit_code"], 0, "{ran}");
    assert_eq!(outcome["died"][0]["service"], "greeter", "{ran}");
    fixture.is_quiet();
}

#[test]
fn failed_start_is_no_test_failure() {
    let fixture = greeter("fn main() { let x: u32 = \"apples\"; }", "port = 0\n");
    fixture.xtask(&["test-e2e"]).ends_with(3).says("mismatched types");
    fixture.file("greeter/src/bin/greeter.rs", "fn main() { panic!(\"no apples\") }");
    fixture.xtask(&["test-e2e"]).ends_with(4).says("no apples");
    fixture.is_quiet();
}

#[test]
fn missing_e2e_package_gets_a_hint() {
    let fixture = greeter(SERVICE, "port = 0\n");
    fixture.edit("Cargo.toml", "[workspace.metadata.xtask]\ne2e = \"black-box\"\n", "");
    fixture.xtask(&["test-e2e"]).ends_with(2).says("[workspace.metadata.xtask]");
    for command in ["test-e2e", "test", "ci"] {
        let ran = fixture.xtask(&[command, "--stack", "mine"]).ends_with(2);
        ran.says("chooses the name of its stack");
    }
}

#[test]
fn killed_test_run_leaves_nothing() {
    let fixture = greeter(SERVICE, "port = 0\n");
    let begin = |path: Option<PathBuf>| -> Running {
        let running = fixture.spawn_with(&["test-e2e", "on_and_on"], |command| {
            command.envs(path.map(|path| ("PATH", path)));
        });
        eventually(Duration::from_secs(120), "the running test", || {
            left_behind(&fixture).iter().any(|stack| stack.join("begun").exists()).then_some(())
        });
        running
    };
    for path in [None, Some(path_without_nextest(&fixture))] {
        let running = begin(path.clone());
        running.signal(libc::SIGKILL);
        assert_eq!(running.wait(Duration::from_secs(5)).code, None);
        fixture.is_quiet();
        left_behind(&fixture).iter().for_each(|stack| std::fs::remove_dir_all(stack).unwrap());

        let running = begin(path);
        running.signal(libc::SIGTERM);
        running.wait(Duration::from_secs(10)).ends_with(143);
        fixture.is_quiet();
        assert!(left_behind(&fixture).is_empty());
    }
}

#[test]
fn kept_stack_can_be_tested_again() {
    let fixture = greeter(SERVICE, "port = 0\n");
    let ran = fixture.xtask(&["test-e2e", "--json", "--keep", "the_stack"]).ends_with(0);
    let stack = ran.json()["stack"].as_str().unwrap().to_owned();
    let status = fixture.xtask(&["status", "--json", "--stack", &stack]).ends_with(0).json();
    assert_eq!(status["services"][0]["phase"], "ready", "{status}");
    ran.says(&format!("cargo xtask down --data --stack {stack}"))
        .says("greeter at http://127.0.0.1:");
    fixture.xtask(&["down", "--data", "--stack", &stack]).ends_with(0);
    fixture.is_quiet();

    let ran = fixture.xtask(&["test-e2e", "--json", "--keep", "apples"]).ends_with(1);
    let stack = ran.json()["stack"].as_str().unwrap().to_owned();
    fixture.xtask(&["restart", "greeter", "--stack", &stack]).ends_with(0);
    fixture.xtask(&["down", "--data", "--stack", &stack]).ends_with(0);
    fixture.is_quiet();
}

/// It takes longer than a program without services of its own may take.
#[test]
fn interrupted_start_grants_each_stop_timeout() {
    let fixture = greeter("fn main() {}\n", "kind = \"job\"\n");
    let manifest = fixture.text("Cargo.toml");
    let slow = "\n[workspace.metadata.services.slow]\nready = { log = \"never\" }\n\
                command = [\"sh\", \"-c\", \"trap 'sleep 6; echo > ended; exit' TERM; echo > begun; \
                while :; do sleep 0.1; done\"]\n";
    fixture.file("Cargo.toml", &(manifest + slow));
    for args in [&["test-e2e"][..], &["test-e2e", "--stacks", "2"]] {
        let running = fixture.spawn(args);
        eventually(Duration::from_secs(120), "the service that stops slowly", || {
            std::fs::remove_file(fixture.root().join("begun")).ok()
        });
        running.signal(libc::SIGINT);
        running.wait(Duration::from_secs(40)).ends_with(130);
        std::fs::remove_file(fixture.root().join("ended")).unwrap();
        fixture.is_quiet();
    }
}

#[test]
fn test_runs_end_to_end_tests_first() {
    let fixture = greeter(SERVICE, "port = 0\n");
    fixture.file("checks/src/lib.rs", "#[test]\nfn the_stack_is_good() {}\n");
    let ran = fixture.xtask(&["test"]).ends_with(0);
    ran.says("--workspace --exclude black-box").says("the_stack_is_good");
    let unit = "\n#[test]\nfn greetings_are_rude() { panic!() }\n";
    let source = fixture.text("greeter/src/bin/greeter.rs") + unit;
    fixture.file("greeter/src/bin/greeter.rs", &source);
    fixture.xtask(&["test"]).ends_with(1).says("the_stack_is_good").says("greetings_are_rude");
    fixture.file("checks/src/lib.rs", "#[test]\nfn the_stack_is_bad() { panic!() }\n");
    let ran = fixture.xtask(&["test"]).ends_with(1).says("the_stack_is_bad");
    assert!(!format!("{ran}").contains("greetings_are_rude"), "{ran}");
    fixture.is_quiet();
}

#[test]
fn test_runs_a_tier_by_name() {
    let fixture = greeter(SERVICE, "port = 0\n");
    fixture.file("greeter/tests/slow.rs", "#[test]\nfn it_takes_long() {}\n");
    fixture.xtask(&["test", "slow"]).ends_with(2).says("no tier of tests is named `slow`");
    let manifest = fixture.text("greeter/Cargo.toml");
    let tier = "\n[[test]]\nname = \"slow\"\ntest = false\n";
    fixture.file("greeter/Cargo.toml", &(manifest + tier));
    let ran = fixture.xtask(&["test", "slow"]).ends_with(0).says("it_takes_long");
    assert!(!format!("{ran}").contains("the_stack"), "{ran}");
    fixture.xtask(&["test", "quick"]).ends_with(2).says("the tiers are slow");
}

#[test]
fn ci_stops_at_the_failed_step() {
    let fixture = greeter("fn main() {}\n", "kind = \"job\"\n");
    let ran = fixture.xtask(&["ci"]).ends_with(1).says("cargo fmt --all --check");
    let ran = ran.says("step `format`");
    assert!(!format!("{ran}").contains("clippy"), "{ran}");
    fixture.file("checks/src/lib.rs", "//! Nothing.\n");
    let ran = fixture.xtask(&["ci"]).ends_with(1);
    ran.says("cargo clippy").says("cargo doc").says("no test to run").says("step `tests`");
    fixture.file("checks/src/lib.rs", "//! Nothing.\npub const WRONG: u8 = \"\";\n");
    let ran = fixture.xtask(&["ci"]).ends_with(3).says("mismatched types").says("step `build`");
    assert_eq!(format!("{ran}").matches("mismatched types").count(), 1, "{ran}");
}
