//! The tests by themselves, as `cargo test -p e2e` or an editor runs them: one stack for the
//! run, which goes when the runner goes.
//!
//! These run the tests a second time from inside, with a state folder of their own by which
//! everything that is started can be found again.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::harness::{self, cargo};
use e2e::snapshot::{Placement, ServiceSnapshot};

/// For what is built already to start, beside other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// After this nothing is left of the processes of a run whose runner is gone.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// Two tests, so that there is something to share.
const TESTS: &str = "sample_data::users_gives";

fn tests_alone(words: &[&str], state: &Path) -> Command {
    let mut command = cargo(Path::new(env!("CARGO_MANIFEST_DIR")));
    command.args(words);
    command.env_remove(xtask_client::STACK_VARIABLE).env("XTASK_STATE_DIR", state);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[tokio::test]
async fn cargo_test_alone_starts_one_stack_that_goes_with_the_run() {
    let farewell = farewell().await;
    let state = tempfile::tempdir().unwrap();
    let words = ["test", "-p", "e2e", "--test", "e2e", "--", TESTS];
    let output = tests_alone(&words, state.path()).stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("3 passed"), "{text}");
    is_gone(state.path(), farewell);
    assert_eq!(stacks(state.path()).len(), 1, "every test has the same stack");
}

#[test]
fn a_stack_that_cannot_be_started_is_told_in_full_once() {
    let state = tempfile::tempdir().unwrap();
    let words = ["test", "-p", "e2e", "--test", "e2e", "--", TESTS];
    // Where the state should be, there is a file.
    let file = state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = tests_alone(&words, &file).stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("3 failed"), "{text}");
    assert_eq!(text.matches("ended with exit status: 1").count(), 1, "{text}");
    assert_eq!(
        text.matches("the reason is in the output of the first failed test").count(),
        2,
        "{text}"
    );
}

#[tokio::test]
async fn nothing_is_left_of_the_stack_one_second_after_its_runner_was_killed() {
    let farewell = farewell().await;
    let state = tempfile::tempdir().unwrap();
    let nextest = ["nextest", "run", "-p", "e2e", "--test", "e2e", TESTS];
    let by_cargo = ["test", "-p", "e2e", "--test", "e2e", "--", TESTS];
    for words in [&nextest[..], &by_cargo[..]] {
        if words == nextest && !has_nextest() {
            harness::skipped("cargo-nextest");
            continue;
        }
        let started = Runner(tests_alone(words, state.path()).spawn().unwrap());
        // The supervisor names the process that it lives for, and that is the runner.
        let runner = wait_for(|| processes(state.path()).into_iter().find_map(|p| p.lives_for()));
        kill(runner);
        drop(started);
        is_gone(state.path(), farewell);
    }
}

/// The tests' runner, or cargo above it. Its end is waited for.
struct Runner(Child);

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A process that was started for a state folder.
#[derive(Debug)]
struct Process {
    pid: i32,
    command: Vec<String>,
}

impl Process {
    fn lives_for(&self) -> Option<i32> {
        let at = self.command.iter().position(|word| word == "--until-pid")?;
        let supervises = self.command.iter().any(|word| word == "supervise");
        self.command.get(at + 1).filter(|_| supervises)?.parse().ok()
    }
}

/// Everything alive that has the folder in its environment, this process apart.
fn processes(state: &Path) -> Vec<Process> {
    let mark = format!("XTASK_STATE_DIR={}", state.display());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let read = |name| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let words = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>()
        };
        words(read("environ"))
            .contains(&mark)
            .then(|| Process { pid, command: words(read("cmdline")) })
    })
    .collect()
}

fn stacks(state: &Path) -> Vec<std::path::PathBuf> {
    let workspaces = std::fs::read_dir(state).unwrap().flatten();
    let stacks = workspaces.flat_map(|entry| std::fs::read_dir(entry.path()).unwrap().flatten());
    stacks.map(|entry| entry.path()).collect()
}

/// How long the end of such a stack may take: a second, but where containers are a part of it
/// their engine takes its own time. Stacks of one run are alike.
async fn farewell() -> Duration {
    let status = harness::stack().await.status().await.unwrap();
    let contained = |service: &ServiceSnapshot| service.placement == Placement::Container;
    if status.services.iter().any(contained) { PATIENCE } else { LAST_SECOND }
}

/// The time is counted in naps: on a machine that lets everybody wait they are longer, for this
/// process as for those that it waits for. Else a test beside others would measure these.
fn is_gone(state: &Path, within: Duration) {
    const NAP: Duration = Duration::from_millis(10);
    for _ in 0..within.as_millis() / NAP.as_millis() {
        if processes(state).is_empty() {
            return;
        }
        std::thread::sleep(NAP);
    }
    let left = processes(state);
    for process in &left {
        kill(process.pid);
    }
    assert!(left.is_empty(), "{left:?}");
}

fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no supervisor was started");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn has_nextest() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("cargo-nextest").exists())
}

fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
}
