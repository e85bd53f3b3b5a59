//! What is left in the engine when supervisors are killed, and what is not ours.

use std::time::{Duration, Instant};

use xtask_client::StackPaths;

use super::engine::Made;
use super::stacks::shop;
use xtask_test_support::{alive, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

fn kill(pid: &serde_json::Value) {
    let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
    // SAFETY: the call takes two numbers; the process is one that this test started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

#[test]
fn killed_supervisor_loses_only_its_own_containers() {
    let fixture = shop("killed").write();
    let Some(made) = Made::by(&fixture) else { return };
    fixture.xtask(&["up", "-d", "front", "--containers"]).ends_with(0);
    let other = made.stranger(&made.all("image")[0]);
    kill(&fixture.status()["supervisor_pid"]);
    eventually(PATIENCE, "the guardian to remove the containers", || {
        (made.all("container").is_empty() && made.all("network").is_empty()).then_some(())
    });
    assert!(made.can(&["container", "inspect", &other.id]), "the foreign container is gone");
    fixture.xtask(&["up", "-d", "front", "--containers"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    assert!(made.can(&["rm", &other.id]), "the foreign container is gone");
}

#[test]
fn next_command_removes_orphaned_containers() {
    let fixture = shop("both").write();
    let Some(made) = Made::by(&fixture) else { return };
    fixture.xtask(&["up", "-d", "front", "--containers"]).ends_with(0);
    let status = fixture.status();
    let mut companions: Vec<i32> = fixture.processes().iter().map(|process| process.pid).collect();
    companions.retain(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("xtask-sweeper")
    });
    for pid in companions {
        kill(&pid.into());
    }
    kill(&status["guardian_pid"]);
    kill(&status["supervisor_pid"]);
    eventually(PATIENCE, "the companions to be gone", || {
        let gone = |pid: &serde_json::Value| !alive(i32::try_from(pid.as_i64().unwrap()).unwrap());
        (gone(&status["guardian_pid"]) && gone(&status["supervisor_pid"])).then_some(())
    });
    let next = fixture.xtask(&["status"]).ends_with(7);
    // A sweeper that took the place of the killed one may have been faster.
    assert!(next.stderr.contains("was killed"), "{next}");
    assert_eq!(made.all("container"), Vec::<String>::new(), "{next}");
    assert_eq!(made.all("network"), Vec::<String>::new(), "{next}");
}

#[test]
fn leftover_network_is_reused_and_removed() {
    let fixture = shop("again").write();
    let Some(made) = Made::by(&fixture) else { return };
    fixture.xtask(&["up", "-d", "stock", "--containers"]).ends_with(0);
    let workspace = format!("xtask.workspace={}", xtask_client::workspace_name(&fixture.root()));
    let filter = format!("label={workspace}");
    let name = made.ask(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"]);
    let shown = "{{range $name, $value := .Labels}}--label {{$name}}={{$value}} {{end}}";
    let labels = made.ask(&["network", "inspect", "--format", shown, &name]);
    assert!(labels.contains("xtask.mark="), "{labels}");
    fixture.xtask(&["down"]).ends_with(0);
    // As a start leaves it that ends between making it and asking for its address.
    let create = ["network", "create"].into_iter().chain(labels.split_whitespace());
    made.ask(&create.chain([&*name]).collect::<Vec<_>>());
    fixture.xtask(&["up", "-d", "stock", "--containers"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(made.all("network"), Vec::<String>::new());
    // The stack keeps a foreign network of that name, and prints a hint.
    let other = made.ask(&["network", "create", &name]);
    let failed = fixture.xtask(&["up", "-d", "stock", "--containers"]).ends_with(4);
    assert!(failed.stderr.contains(&format!("network rm {name}`")), "{failed}");
    fixture.xtask(&["down"]).ends_with(0);
    made.ask(&["network", "rm", &other]);
}

#[test]
fn next_command_cleans_up_after_kills() {
    let fixture = shop("moments").write();
    let Some(made) = Made::by(&fixture) else { return };
    // How long a start takes, images and all that is cached apart.
    let up = ["up", "-d", "front", "--containers"];
    fixture.xtask(&up).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let begin = Instant::now();
    fixture.xtask(&up).ends_with(0);
    let whole = begin.elapsed();
    fixture.xtask(&["down"]).ends_with(0);
    let folder = std::fs::read_dir(fixture.state()).unwrap().next().unwrap().unwrap().path();
    let paths = StackPaths::at(folder.join("dev"));
    let moments: u32 =
        std::env::var("XTASK_KILLS").map_or(4, |text| text.parse().expect("a number"));
    for moment in 0..moments {
        let client = fixture.spawn(&up);
        client.says(PATIENCE, "Starting");
        let supervisor = paths.read_endpoint().unwrap().pid;
        let delay = whole * moment / moments;
        std::thread::sleep(delay);
        kill(&supervisor.into());
        client.wait(PATIENCE);
        fixture.xtask(&["status"]).ends_with(7);
        assert_eq!(made.all("container"), Vec::<String>::new(), "after {delay:?}");
        assert_eq!(made.all("network"), Vec::<String>::new(), "after {delay:?}");
    }
}

#[test]
fn failing_test_leaves_nothing_in_the_engine() {
    let fixture = shop("failing").write();
    let Some(_made) = Made::by(&fixture) else { return };
    let mut stranger = String::new();
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let made = Made::by(&fixture).unwrap();
        fixture.xtask(&["up", "-d", "front", "--containers"]).ends_with(0);
        let made_too = made.stranger(&made.all("image")[0]);
        stranger.clone_from(&made_too.id);
        assert!(made.can(&["container", "inspect", &stranger]), "there is no other one");
        panic!("as a test does");
    }));
    let why = failed.unwrap_err();
    assert_eq!(why.downcast_ref(), Some(&"as a test does"), "it failed before it should");
    // Or else what was removed would be made again.
    fixture.is_quiet();
    let left = Made::by(&fixture).unwrap();
    for kind in ["container", "network", "image"] {
        assert_eq!(left.all(kind), Vec::<String>::new(), "{kind}");
    }
    assert!(!left.can(&["container", "inspect", &stranger]), "the other one is left");
}
