//! Two at the same moment, or side by side: two starts of one stack, stacks of one
//! workspace, worktrees of one repository. None sees anything of another one.
//!
//! Two starts are tried a few times; `XTASK_TRIES=50` tries harder.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::stand::{SERVE, stand, tower};
use crate::support::{Fixture, PackageSpec, Running, SERVICE, free_port, get_at};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(60);

fn tries() -> usize {
    std::env::var("XTASK_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(4)
}

/// One starts the stack, the others join it.
#[test]
fn of_several_ups_at_once_one_wins_and_the_others_become_its_clients() {
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
fn many_stacks_of_one_workspace_share_no_process_port_or_data() {
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

#[test]
fn two_worktrees_of_one_repository_share_nothing_and_a_fixed_port_names_its_stack() {
    let (one, two) = worktrees(free_port());
    one.xtask(&["up", "-d"]).ends_with(0);
    let held = two.xtask(&["up", "-d"]).ends_with(5);
    let workspace = one.root().display().to_string();
    let held = held.says(&format!("held by stack `dev` of workspace `{workspace}`"));
    let held = held.says("`cargo xtask down --stack dev` there ends it");
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
fn a_port_of_another_stack_of_the_same_workspace_is_named_too() {
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
    held.says("`cargo xtask down --stack other` there ends it");
}

#[test]
fn a_foreign_holder_of_a_port_is_no_stack() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let (one, _two) = worktrees(port);
    let held = one.xtask(&["up", "-d"]).ends_with(5).says(&format!("port {port} is held by `"));
    assert!(!held.stderr.contains("of workspace"), "{held}");
}

#[test]
fn one_target_directory_for_two_worktrees_is_refused_and_both_are_named() {
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

/// Said in a configuration file, and known from a build that was cargo's alone.
#[test]
fn a_shared_target_directory_is_noticed_after_a_build_without_this_tool() {
    let (one, two) = worktrees(0);
    let shared = one.out().join("shared");
    for fixture in [&one, &two] {
        let config = format!("[build]\ntarget-dir = {:?}\n", shared.display().to_string());
        fixture.file(".cargo/config.toml", &config);
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .current_dir(one.root())
        .status();
    assert!(built.unwrap().success());
    let refused = two.xtask(&["up", "-d"]).ends_with(2);
    refused.says(&one.root().display().to_string());
    // A worktree that is gone is in nobody's way.
    fs::rename(one.root(), one.out().join("gone")).unwrap();
    two.xtask(&["up", "-d"]).ends_with(0);
    fs::rename(one.out().join("gone"), one.root()).unwrap();
}
