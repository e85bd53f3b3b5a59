//! The tests without `test-e2e`, as `cargo test -p e2e` or an editor runs them: the run starts one
//! stack, which stops when the runner exits.
//!
//! These tests run some tests in a nested runner, with a separate state folder. The folder's name
//! in the environment identifies every process of the nested run.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::harness::{self, cargo};
use e2e::snapshot::{Placement, ServiceSnapshot};

/// The timeout for a built stack to start on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The time limit for all processes of a run to exit after the runner.
const EXIT_TIME: Duration = Duration::from_secs(1);

/// The filter for some tests that share a stack.
const TESTS: &str = "sample_data::users_returns";

fn nested_tests(arguments: &[&str], state: &Path) -> Command {
    let mut command = cargo(Path::new(env!("CARGO_MANIFEST_DIR")));
    command.args(arguments);
    command.env_remove(xtask_client::STACK_VARIABLE).env("XTASK_STATE_DIR", state);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[tokio::test]
async fn cargo_test_starts_one_stack_for_the_run() {
    let exit_time = exit_time().await;
    let state = tempfile::tempdir().unwrap();
    let arguments = ["test", "-p", "e2e", "--test", "e2e", "--", TESTS];
    let output = nested_tests(&arguments, state.path()).stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("3 passed"), "{text}");
    assert_exited(state.path(), exit_time);
    // Another run with this target folder may have deleted what the ended runner left.
    assert!(stacks(state.path()).len() < 2, "all tests share the stack");
}

#[test]
fn failed_start_is_reported_in_full_once() {
    let state = tempfile::tempdir().unwrap();
    let arguments = ["test", "-p", "e2e", "--test", "e2e", "--", TESTS];
    // The state folder is a file.
    let file = state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = nested_tests(&arguments, &file).stdout(Stdio::piped()).output().unwrap();
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
async fn stack_exits_one_second_after_a_killed_runner() {
    let exit_time = exit_time().await;
    let state = tempfile::tempdir().unwrap();
    let nextest = ["nextest", "run", "-p", "e2e", "--test", "e2e", TESTS];
    let by_cargo = ["test", "-p", "e2e", "--test", "e2e", "--", TESTS];
    for arguments in [&nextest[..], &by_cargo[..]] {
        if arguments == nextest && !has_nextest() {
            harness::skipped("cargo-nextest");
            continue;
        }
        let started = Runner(nested_tests(arguments, state.path()).spawn().unwrap());
        // The supervisor's arguments contain the pid of the runner.
        let find = || processes(state.path()).into_iter().find_map(|process| process.runner());
        let runner = wait_for(find);
        kill(runner);
        drop(started);
        assert_exited(state.path(), exit_time);
    }
}

/// The nested runner, or the cargo that started it. Dropping it kills and reaps the process.
struct Runner(Child);

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A process of a nested run.
#[derive(Debug)]
struct Process {
    pid: i32,
    command: Vec<String>,
}

impl Process {
    /// The pid of the runner, in the arguments of a supervisor.
    fn runner(&self) -> Option<i32> {
        let at = self.command.iter().position(|word| word == "--until-pid")?;
        let is_supervisor = self.command.iter().any(|word| word == "supervise");
        self.command.get(at + 1).filter(|_| is_supervisor)?.parse().ok()
    }
}

/// The processes with the state folder in their environment.
fn processes(state: &Path) -> Vec<Process> {
    let mark = format!("XTASK_STATE_DIR={}", state.display());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let read = |name| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let arguments = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>()
        };
        arguments(read("environ"))
            .contains(&mark)
            .then(|| Process { pid, command: arguments(read("cmdline")) })
    })
    .collect()
}

fn stacks(state: &Path) -> Vec<std::path::PathBuf> {
    let folders = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect()
    };
    folders(state).iter().flat_map(|workspace| folders(workspace)).collect()
}

/// The time limit for a stack to exit: a second, or more with containers, because the engine is
/// slow. All stacks of a run have the same placements.
async fn exit_time() -> Duration {
    let status = harness::stack().await.status().await.unwrap();
    let is_container = |service: &ServiceSnapshot| service.placement == Placement::Container;
    if status.services.iter().any(is_container) { TIMEOUT } else { EXIT_TIME }
}

/// Asserts that all processes exit in time. The limit is a number of sleeps, which take longer on a
/// busy machine, like the processes that the test waits for.
fn assert_exited(state: &Path, within: Duration) {
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..within.as_millis() / PAUSE.as_millis() {
        if processes(state).is_empty() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    let left = processes(state);
    for process in &left {
        kill(process.pid);
    }
    assert!(left.is_empty(), "{left:?}");
}

fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
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
