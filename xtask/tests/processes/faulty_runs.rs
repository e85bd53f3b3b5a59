//! `test-e2e` with faults that a seed draws, on several stacks at once, and what a failed
//! run leaves.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::end_to_end::{by_cargo, greeter, left_behind};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually};

/// Tests that take the stack as it is, and one that waits until its service is another run.
const TESTS: &str = r#"
#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    fn stack() -> PathBuf {
        std::env::var_os("XTASK_STACK_DIR").expect("a stack is named").into()
    }

    fn log(service: &str) -> String {
        let path = stack().join(format!("logs/{service}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn killed_again_and_again() {
        let deadline = Instant::now() + Duration::from_secs(60);
        while log("mid").matches("listening").count() < 4 {
            assert!(Instant::now() < deadline, "{}", log("mid"));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(log("once").matches("listening").count(), 1, "it does not come back");
    }

    #[test]
    fn undisturbed_while_faults_are_excluded() {
        let starts = || ["base", "mid", "top"].map(|name| log(name).matches("listening").count());
        // As `harness::calm` does.
        let lock = stack().join("faults.lock");
        let lock = std::fs::OpenOptions::new().create(true).append(true).open(lock).unwrap();
        lock.lock_shared().unwrap();
        let before = starts();
        // The longest pause between two kills is 1.5 s.
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(starts(), before);
        drop(lock);
        let deadline = Instant::now() + Duration::from_secs(60);
        while starts() == before {
            assert!(Instant::now() < deadline, "nothing is killed: {before:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn part_one() { note() }
    #[test]
    fn part_two() { note() }
    #[test]
    fn part_three() { note() }

    /// Which stack has run which test.
    fn note() {
        use std::io::Write;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/parts");
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let test = std::thread::current();
        let line = format!("{} {}\n", stack().display(), test.name().unwrap());
        file.write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn unripe() {
        // As the harness notes a test that fails with a stack in its hands.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let line = format!(
            "{{\"test\":\"tests::unripe\",\"from_ms\":0,\"until_ms\":{}}}\n",
            now.as_millis()
        );
        std::fs::write(stack().join("failed-tests.jsonl"), line).unwrap();
        panic!("the apples are green");
    }
}
"#;

/// Four services: `base`, `mid`, `top` one after the other, and `once`, which is not
/// started again.
fn orchard() -> Fixture {
    let service = |name: &str, more: &str| {
        PackageSpec::new(name, name).bin(name, SERVICE).metadata(&format!(
            "[package.metadata.service]\nport = 0\nsocket-activation = true\n{more}"
        ))
    };
    Fixture::new("orchard")
        .package(service("base", ""))
        .package(service("mid", "depends-on = [\"base\"]"))
        .package(service("once", "restart = \"no\"\nenv = { API_TOKEN = \"sesame\" }"))
        .package(PackageSpec::new("checks", "black-box").lib(TESTS))
        .workspace("[workspace.metadata.xtask]\ne2e = \"black-box\"\n")
        .write()
}

#[test]
fn random_kills_are_repeatable_and_fail_no_test() {
    let fixture = orchard();
    let args = ["test-e2e", "--kill-random", "--seed", "11", "--json", "killed_again"];
    let ran = fixture.xtask(&args).ends_with(0).says("Killed mid");
    let outcome = ran.json();
    assert!(outcome["killed"].as_u64() >= Some(3), "{outcome}");
    assert_eq!(outcome["died"], Value::Array(Vec::new()), "{outcome}");
    let said = format!("{ran}");
    assert!(!said.contains("Killed once"), "{ran}");
    ran.says(&format!("Killed {} services during the tests (seed 11)", outcome["killed"]));
    fixture.is_quiet();
    assert!(left_behind(&fixture).is_empty());
}

#[test]
fn random_kills_spare_tests_that_exclude_faults() {
    let fixture = orchard();
    let ran = fixture.xtask(&["test-e2e", "--kill-random", "--json", "undisturbed"]).ends_with(0);
    assert!(ran.json()["killed"].as_u64() >= Some(1), "{ran}");
    fixture.is_quiet();
}

#[test]
fn drawn_seed_is_part_of_the_repeat_command() {
    let fixture = orchard();
    let args = ["test-e2e", "--start-order", "random", "--slow", "base=1ms", "unripe"];
    let ran = fixture.xtask(&args).ends_with(1);
    let said = ran.stderr.lines().find_map(|line| line.trim().strip_prefix("Seed "));
    let seed = said.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("{ran}"));
    let again =
        format!("cargo xtask test-e2e --start-order random --seed {seed} --slow base=1ms unripe");
    ran.says(&again);
    fixture.is_quiet();
}

#[test]
fn seed_decides_the_start_order() {
    let fixture = orchard();
    let order = |seed: &str| {
        let ran = fixture.xtask(&["up", "-d", "--json", "--start-order", "random", "--seed", seed]);
        let ran = ran.ends_with(0);
        fixture.xtask(&["down"]).ends_with(0);
        let events = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ready = events.into_iter().find(|event| event["event"] == "ready").unwrap();
        let mut services = ready["services"].as_array().unwrap().clone();
        // One is ready before the next starts.
        services.sort_by_key(|service| (service["ready_at_ms"].as_u64(), service["pid"].as_u64()));
        let order: Vec<_> = services.iter().map(|service| service["name"].to_string()).collect();
        order
    };
    let orders: Vec<_> = (0..6).map(|seed| order(&seed.to_string())).collect();
    assert_eq!(order("0"), orders[0]);
    assert_eq!(order("3"), orders[3]);
    assert!(orders.iter().any(|other| *other != orders[0]), "{orders:?}");
}

#[test]
fn slow_flag_delays_one_service() {
    let fixture = orchard();
    let began = std::time::Instant::now();
    fixture.xtask(&["up", "-d", "base", "--slow", "base=1s"]).ends_with(0);
    assert!(began.elapsed() >= Duration::from_secs(1));
    fixture.xtask(&["down"]).ends_with(0);
    fixture.xtask(&["up", "--slow", "bse=1s"]).ends_with(2).says("did you mean `base`?");
    fixture.xtask(&["up", "--slow", "base=1"]).ends_with(2).says("has no unit");
}

#[test]
fn shards_divide_tests_among_stacks() {
    for with_cargo in [false, true] {
        let fixture = orchard();
        let args = ["test-e2e", "--stacks", "2", "--json", "part_"];
        let ran = if with_cargo { by_cargo(&fixture, &args) } else { fixture.xtask(&args) };
        let merged = ran.ends_with(0).json();
        assert_eq!(
            (&merged["passed"], merged["shards"].as_array().unwrap().len()),
            (&true.into(), 2)
        );
        let parts = fixture.text("checks/parts");
        let mut tests: Vec<&str> =
            parts.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        tests.sort_unstable();
        assert_eq!(tests, ["tests::part_one", "tests::part_three", "tests::part_two"]);
        let mut stacks: Vec<&str> =
            parts.lines().map(|line| line.split(' ').next().unwrap()).collect();
        stacks.sort_unstable();
        stacks.dedup();
        assert_eq!(stacks.len(), 2, "{parts}");
        fixture.is_quiet();
        assert!(left_behind(&fixture).is_empty());
    }
}

#[test]
fn failed_shard_fails_and_empty_shard_passes() {
    let fixture = orchard();
    let ran = fixture.xtask(&["test-e2e", "--stacks", "3", "--json", "unripe", "part_one"]);
    let merged = ran.ends_with(1).says("cargo xtask test-e2e --stacks 3 unripe part_one").json();
    assert_eq!((&merged["passed"], &merged["ran"]), (&false.into(), &true.into()), "{merged}");
    fixture.xtask(&["test-e2e", "--stacks", "2", "part_one"]).ends_with(0);
    let ran = fixture.xtask(&["test-e2e", "--stacks", "2", "bananas"]).ends_with(1);
    ran.says("no test matches `bananas`");
    fixture.is_quiet();
}

#[test]
fn shards_end_on_signal_or_with_their_parent() {
    let fixture = greeter(SERVICE, "port = 0\n");
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let running = fixture.spawn(&["test-e2e", "--stacks", "2", "on_and_on"]);
        eventually(Duration::from_secs(120), "the running test", || {
            left_behind(&fixture).iter().any(|stack| stack.join("begun").exists()).then_some(())
        });
        running.signal(signal);
        let code = running.wait(Duration::from_secs(20)).code;
        assert_eq!(code, if signal == libc::SIGTERM { Some(143) } else { None });
        // The shards see it by themselves, and end in order.
        eventually(Duration::from_secs(20), "the end of the shards", || {
            fixture.processes().is_empty().then_some(())
        });
        left_behind(&fixture).iter().for_each(|stack| std::fs::remove_dir_all(stack).unwrap());
    }
}

#[test]
fn failed_run_leaves_a_bundle_without_secrets() {
    let fixture = orchard();
    let ran = fixture.xtask(&["test-e2e", "--json", "unripe"]).ends_with(1);
    let bundle = ran.json()["bundle"].as_str().unwrap().to_owned();
    let ran = ran.says(&bundle);
    let text = |name: &str| {
        let path = Path::new(&bundle).join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}\n{ran}"))
    };
    let summary = text("summary.txt");
    for part in ["cargo xtask test-e2e unripe", "failed: tests::unripe", "mid: ready"] {
        assert!(summary.contains(part), "{part} is not in {summary}");
    }
    assert!(text("graph.txt").contains("base"));
    assert!(text("test-tests--unripe.log").contains(" mid 1 o listening"));
    assert!(text("status.json").contains("\"phase\": \"ready\""));
    let plan = text("plan.json");
    assert!(plan.contains("API_TOKEN") && !plan.contains("sesame"), "{plan}");
    fixture.is_quiet();
}

#[test]
fn ten_failed_runs_are_kept() {
    let fixture = orchard();
    let first = fixture.xtask(&["test-e2e", "--json", "unripe"]).ends_with(1).json();
    let first = Path::new(first["bundle"].as_str().unwrap()).parent().unwrap().to_owned();
    // Like others that failed after it.
    for number in 1..=11 {
        let folder = first.with_file_name(format!("e2e-{number}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("kept"), "").unwrap();
        std::fs::write(folder.join("lock"), "").unwrap();
    }
    fixture.xtask(&["test-e2e", "bananas"]).ends_with(1);
    assert_eq!(left_behind(&fixture).len(), 10);
    assert!(!first.exists());
}
