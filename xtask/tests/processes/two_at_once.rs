//! Two at the same moment, or side by side: two starts of one stack, stacks of one
//! workspace, worktrees of one repository. None sees anything of another one.
//!
//! Two starts are tried a few times; `XTASK_TRIES=50` tries harder.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::guardian::mark;
use xshell::cmd;
use xtask_test_support::stand::{SERVE, stand, tower};
use xtask_test_support::{Fixture, JOB, PackageSpec, Running, SERVICE, free_port, get_at, shell};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(60);

fn tries() -> usize {
    std::env::var("XTASK_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(4)
}

/// One starts the stack, the others join it.
#[test]
fn one_of_several_ups_starts_the_stack() {
    let fixture = tower("", "");
    for number in 0..tries() {
        // Both ends of a race are tried: one that begins as a client, and three at once.
        let ups: Vec<Running> = (0..2 + number % 2).map(|_| fixture.spawn(&["up", "-d"])).collect();
        for up in ups {
            up.wait(SOON).ends_with(0);
        }
        let found = fixture.processes();
        let supervising = found.iter().filter(|process| process.command.contains(" supervise "));
        // A supervisor, its guardian and its sweeper, which are one command.
        assert_eq!(supervising.count(), 3, "{found:#?}");
        let status = fixture.status();
        for service in status["services"].as_array().unwrap() {
            assert_eq!((&service["phase"], &service["run"]), (&"ready".into(), &1.into()));
        }
        fixture.xtask(&["down"]).ends_with(0);
        fixture.is_quiet();
    }
}

#[test]
fn many_stacks_share_nothing() {
    const STACKS: [&str; 5] = ["one", "two", "three", "four", "five"];
    let fixture = STACKS.iter().fold(
        stand(&[("base", SERVE, "port = 0\n"), ("top", SERVE, "port = 0\nuses = [\"base\"]\n")]),
        |fixture, stack| fixture.stack(stack),
    );
    let fixture = fixture.write();
    let ups: Vec<Running> =
        STACKS.iter().map(|stack| fixture.spawn(&["up", "-d", "--stack", stack])).collect();
    ups.into_iter().for_each(|up| drop(up.wait(SOON).ends_with(0)));
    let mut seen = BTreeSet::new();
    for stack in STACKS {
        let status = fixture.xtask(&["status", "--json", "--stack", stack]).ends_with(0).json();
        assert_eq!(status["stack"], stack);
        for service in status["services"].as_array().unwrap() {
            assert!(seen.insert(service["pid"].to_string()), "{service:#}");
            assert!(seen.insert(service["url"].to_string()), "{service:#}");
        }
        let plan = fixture.xtask(&["up", "--dry-run", "--json", "--stack", stack]).json();
        assert!(seen.insert(plan["data"].to_string()), "{plan:#}");
    }
    fixture.xtask(&["down", "--stack", "three"]).ends_with(0);
    for stack in STACKS.iter().filter(|stack| **stack != "three") {
        let status = fixture.xtask(&["status", "--json", "--stack", stack]).ends_with(0).json();
        assert_eq!(status["state"], "ready", "{stack}");
    }
}

/// A workspace with one service, in a second folder of that name too.
fn worktrees(port: u16) -> (Fixture, Fixture) {
    let worktree = || {
        let metadata = format!("[package.metadata.service]\nname = \"shop\"\nport = {port}\n");
        let package = PackageSpec::new("apps/shop", "shop").bin("shopd", SERVICE);
        Fixture::new("tree").package(package.metadata(&metadata)).write()
    };
    (worktree(), worktree())
}

/// What the processes of a stack hold, as the system shows it.
#[derive(Debug, Default)]
struct Held {
    marks: BTreeSet<String>,
    /// Numbers of TCP ports that are listened on.
    ports: BTreeSet<String>,
    /// Sockets with a place in the file system, by that place.
    sockets: BTreeSet<String>,
    /// Files in the folder of the state.
    files: BTreeSet<String>,
}

impl Held {
    /// By the mark of a service, and by the processes that the status names.
    fn by_the_stack_of(fixture: &Fixture) -> Self {
        let status = fixture.status();
        let number = |value: &Value| i32::try_from(value.as_i64().unwrap()).unwrap();
        let services = status["services"].as_array().unwrap().iter();
        let run: Vec<i32> =
            services.filter(|it| it["pid"].is_i64()).map(|it| number(&it["pid"])).collect();
        let own = mark(run[0]).unwrap();
        let owners = [number(&status["supervisor_pid"]), number(&status["guardian_pid"])];
        let marked = fixture.processes().into_iter().map(|process| process.pid);
        let marked = marked.filter(|pid| mark(*pid).as_ref() == Some(&own));
        let mut held = Self::default();
        let (tcp, unix) = (table("tcp"), table("unix"));
        for pid in marked.chain(owners).collect::<BTreeSet<i32>>() {
            held.marks.extend(mark(pid).map(|mark| String::from_utf8(mark).unwrap()));
            for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
                let Ok(link) = fs::read_link(entry.path()) else { continue };
                let link = link.display().to_string();
                if link.starts_with(&fixture.state().display().to_string()) {
                    held.files.insert(link.clone());
                }
                let Some(socket) = link.strip_prefix("socket:[") else { continue };
                let inode = socket.trim_end_matches(']');
                let listens = tcp.iter().filter(|line| line[3] == "0A" && line[9] == inode);
                held.ports.extend(listens.map(|line| line[1].clone()));
                let placed = unix.iter().filter(|line| line[6] == inode && line.len() > 7);
                held.sockets.extend(placed.map(|line| line[7].clone()));
            }
        }
        held
    }

    #[track_caller]
    fn is_apart_from(&self, other: &Self) {
        for (own, others) in [
            (&self.marks, &other.marks),
            (&self.ports, &other.ports),
            (&self.sockets, &other.sockets),
            (&self.files, &other.files),
        ] {
            assert!(!own.is_empty() && !others.is_empty(), "{self:#?}\n{other:#?}");
            assert!(own.is_disjoint(others), "{self:#?}\n{other:#?}");
        }
    }
}

/// A table of sockets, a line of words each, without its head.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/net/{name}")).unwrap();
    let lines = text.lines().skip(1);
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The paths below a folder that end in this name.
fn named(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(named(&path, name));
        } else if path.ends_with(name) {
            found.push(path);
        }
    }
    found
}

/// One folder for the state of both and one for their sockets, as one user has them.
#[test]
fn two_worktrees_in_one_state_folder_are_separate() {
    let worktree = |fixture: Fixture| {
        let activated = "port = 0\nsocket-activation = true\n";
        let job = "kind = \"job\"\nenv = { JOB_FILE = \"${stack.data}/done\" }\n";
        let package = |name: &str, source: &str, more: &str| {
            let metadata = format!("[package.metadata.service]\n{more}");
            PackageSpec::new(name, name).bin(name, source).metadata(&metadata)
        };
        fixture
            .package(package("shop", SERVICE, "port = 0\ndepends-on = [\"stock\", \"once\"]\n"))
            .package(package("stock", SERVICE, activated))
            .package(package("once", JOB, job))
            .write()
    };
    let one = worktree(Fixture::new("tree"));
    let two = worktree(Fixture::new("tree").sharing(&one));
    let ups = [one.spawn(&["up", "-d"]), two.spawn(&["up", "-d"])];
    ups.into_iter().for_each(|up| drop(up.wait(SOON).ends_with(0)));

    Held::by_the_stack_of(&one).is_apart_from(&Held::by_the_stack_of(&two));
    let done = named(&one.state(), "done");
    assert_eq!(done.len(), 2, "{done:?}");
    for file in done {
        assert_eq!(fs::read_to_string(&file).unwrap(), "done\n", "{}", file.display());
    }
    let logs = |fixture: &Fixture| fixture.xtask(&["logs", "--json"]).ends_with(0).stdout;
    let before = logs(&two);
    one.xtask(&["down", "--data"]).ends_with(0);
    assert_eq!((two.status()["state"].as_str(), logs(&two)), (Some("ready"), before));
    assert_eq!(named(&one.state(), "done").len(), 1, "the data of one are gone, the other's stay");
}

#[test]
fn fixed_port_conflict_names_the_other_worktree() {
    let (one, two) = worktrees(free_port());
    one.xtask(&["up", "-d"]).ends_with(0);
    let held = two.xtask(&["up", "-d"]).ends_with(5);
    let workspace = one.root().display().to_string();
    let held = held.says(&format!("held by stack `dev` of workspace `{workspace}`"));
    let supervisor = &one.status()["supervisor_pid"];
    let held =
        held.says(&format!("`cargo xtask down --stack dev` there, or `kill {supervisor}`, ends"));
    held.says("hint: `cargo xtask up --ports auto`");
    two.is_quiet();
    two.xtask(&["up", "-d", "--ports", "auto"]).ends_with(0);
    let (a, b) = (one.service("shop"), two.service("shop"));
    assert_ne!(a["url"], b["url"]);
    for service in [a, b] {
        let answer = get_at(service["url"].as_str().unwrap(), "/").unwrap();
        assert_eq!(answer.body, service["pid"].to_string());
    }
    one.xtask(&["down"]).ends_with(0);
    assert_eq!(two.status()["state"], "ready");
}

/// The socket is the supervisor's own where services inherit it.
#[test]
fn port_conflict_names_the_sibling_stack() {
    let port = free_port();
    let metadata = format!("[package.metadata.service]\nport = {port}\nsocket-activation = true\n");
    let package = PackageSpec::new("shop", "shop").bin("shopd", SERVICE).metadata(&metadata);
    let fixture = Fixture::new("twice").package(package).stack("other").write();
    fixture.xtask(&["up", "-d", "--stack", "other", "--ports", "auto"]).ends_with(0);
    let url = fixture.xtask(&["status", "--json", "--stack", "other"]).json();
    let taken: Value = url["services"][0]["url"].clone();
    let taken = taken.as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    fixture.edit("shop/Cargo.toml", &format!("port = {port}"), &format!("port = {taken}"));
    let held = fixture.xtask(&["up", "-d"]).ends_with(5);
    let root = fixture.root().display().to_string();
    let held = held.says(&format!("port {taken} is held by stack `other` of workspace `{root}`"));
    held.says("`cargo xtask down --stack other` there, or `kill ");
}

#[test]
fn foreign_port_holder_is_no_stack() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let (one, _two) = worktrees(port);
    let held = one.xtask(&["up", "-d"]).ends_with(5).says(&format!("port {port} is held by `"));
    assert!(!held.stderr.contains("of workspace"), "{held}");
}

#[test]
fn shared_target_directory_is_refused() {
    let (one, two) = worktrees(0);
    let shared = one.out().join("shared");
    let run = |fixture: &Fixture, args: &[&str]| {
        let run = fixture.spawn_with(args, |command| {
            command.env("CARGO_TARGET_DIR", &shared);
        });
        run.wait(SOON)
    };
    let up = |fixture: &Fixture| run(fixture, &["up", "-d"]);
    up(&one).ends_with(0);
    let refused = up(&two).ends_with(2);
    let (first, second) = (one.root().display().to_string(), two.root().display().to_string());
    let own = format!("hint: `CARGO_TARGET_DIR={second}/target cargo xtask up`");
    refused.says(&first).says(&second).says(&shared.display().to_string()).says(&own);
    run(&two, &["image"]).ends_with(2).says(&own.replace("xtask up", "xtask image"));
    run(&two, &["export", "compose"]).ends_with(2).says(&own.replace("xtask up", "xtask export"));
    two.is_quiet();
    up(&one).ends_with(0).says("already running");
    two.xtask(&["up", "-d"]).ends_with(0);
}

#[test]
fn copied_checkout_gets_a_hint_to_clean() {
    let (one, two) = worktrees(0);
    one.xtask(&["up", "-d"]).ends_with(0);
    let (target, shell) = (one.root().join("target"), shell(two.root()));
    cmd!(shell, "cp -a {target} .").run().unwrap();
    let refused = two.xtask(&["up", "-d"]).ends_with(2);
    refused.says(&one.root().display().to_string()).says("hint: `cargo clean`, if this folder is");
    cmd!(shell, "cargo clean").run().unwrap();
    two.xtask(&["up", "-d"]).ends_with(0);
}

/// Said in a configuration file, and known from a build that was cargo's alone.
#[test]
fn shared_target_directory_is_noticed_after_foreign_builds() {
    let (one, two) = worktrees(0);
    let shared = one.out().join("shared");
    for fixture in [&one, &two] {
        let config = format!("[build]\ntarget-dir = {:?}\n", shared.display().to_string());
        fixture.file(".cargo/config.toml", &config);
    }
    let shell = shell(one.root());
    cmd!(shell, "cargo build --quiet --offline").run().unwrap();
    let refused = two.xtask(&["up", "-d"]).ends_with(2);
    refused.says(&one.root().display().to_string());
    // A deleted worktree causes no conflict.
    fs::rename(one.root(), one.out().join("gone")).unwrap();
    two.xtask(&["up", "-d"]).ends_with(0);
    fs::rename(one.out().join("gone"), one.root()).unwrap();
}
