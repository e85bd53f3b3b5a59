//! Processes that run before the stack: ignored, adopted, refused or, on demand, stopped.
//!
//! Each test starts a program by hand, or holds a port with another program, and then checks from
//! outside what happened to that process.

mod shop;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use self::shop::Shop;
use crate::by_hand::ByHand;
use xshell::cmd;
use xtask_test_support::stand::{SERVE, phase, pid, port, stand};
use xtask_test_support::{
    Fixture, PackageSpec, alive, eventually, free_port, get, get_at, misbehave, shell,
};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(30);

fn is_adopted(fixture: &Fixture, name: &str) -> bool {
    fixture.service(name)["adopted"] == Value::Bool(true)
}

#[test]
fn manual_copy_is_adopted_and_never_stopped() {
    for activation in ["", "socket-activation = true\nready = { http = \"/\" }"] {
        let shop = Shop::new(activation);
        shop.build();
        let mut copy = shop.by_hand(&[("LOUD", "very")]);
        let fixture = &shop.fixture;

        let up = fixture.xtask(&["up", "-d"]).ends_with(0);
        up.says("Adopted stock").says(&format!("adopted (pid {})", copy.pid()));
        let stock = fixture.service("stock");
        assert_eq!(stock["phase"], "ready", "{stock:#}");
        assert_eq!(stock["pid"], copy.pid(), "{stock:#}");
        assert!(is_adopted(fixture, "stock") && !is_adopted(fixture, "front"));
        assert_eq!(port(fixture, "stock"), shop.number);
        let front = fixture.service("front")["url"].as_str().unwrap().to_owned();
        let url = get_at(&front, "/env/STOCK_URL").unwrap().body;
        assert_eq!(get_at(&url, "/").unwrap().body, copy.pid().to_string());

        let again = fixture.xtask(&["up", "-d"]).ends_with(0);
        again.says(&format!("adopted (pid {})", copy.pid()));
        fixture.xtask(&["restart", "stock"]).ends_with(1).says("restart --replace stock");
        fixture.xtask(&["status"]).ends_with(0).says("gets no signal");
        assert!(copy.is_alive());

        fixture.xtask(&["down", "stock"]).ends_with(0);
        assert_eq!(phase(fixture, "stock"), "stopped");
        assert!(copy.is_alive());
        fixture.xtask(&["up", "-d"]).ends_with(0);
        assert_eq!(pid(fixture, "stock"), copy.pid());
        fixture.xtask(&["down"]).ends_with(0);
        assert!(copy.is_alive());
        assert_eq!(get(shop.number, "/").unwrap().body, copy.pid().to_string());
    }
}

#[test]
fn interrupted_up_keeps_an_adopted_process() {
    let shop = Shop::new("");
    shop.build();
    let mut copy = shop.by_hand(&[]);
    let up = shop.fixture.spawn(&["up"]);
    up.says(SOON, "adopted (pid");
    up.signal(libc::SIGINT);
    up.wait(SOON).ends_with(130);
    assert!(copy.is_alive());
}

#[test]
fn run_replaces_an_ended_adopted_process() {
    let shop = Shop::new("socket-activation = true");
    shop.build();
    let mut copy = shop.by_hand(&[]);
    let fixture = &shop.fixture;
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let front = pid(fixture, "front");

    copy.child.kill().unwrap();
    copy.ended();

    let stock = eventually(SOON, "a run in its place", || {
        let stock = fixture.service("stock");
        (stock["phase"] == "ready" && stock["pid"] != copy.pid()).then_some(stock)
    });
    assert_eq!(stock["adopted"], false, "{stock:#}");
    assert_eq!(port(fixture, "stock"), shop.number);
    assert_eq!(get(shop.number, "/").unwrap().body, pid(fixture, "stock").to_string());
    assert_eq!(pid(fixture, "front"), front, "its dependent stays");
}

#[test]
fn copy_with_other_settings_needs_replace() {
    let shop = Shop::new("");
    shop.build();
    let mut copy = shop.by_hand(&[("GOODS", "store://clerk:hunter2@local/elsewhere")]);
    let fixture = &shop.fixture;

    let refused = fixture.xtask(&["up", "-d"]).ends_with(5);
    refused.clone().says("GOODS").says(&format!("pid {}", copy.pid())).says("up --replace");
    assert!(!refused.stderr.contains("hunter") && !refused.stderr.contains("LOUD"), "{refused}");
    assert!(copy.is_alive());

    fixture.xtask(&["up", "-d", "--replace"]).ends_with(0);
    assert!(!copy.ended().success());
    assert_eq!(get(shop.number, "/").unwrap().body, pid(fixture, "stock").to_string());
    assert!(!is_adopted(fixture, "stock"));
}

#[test]
fn copy_without_a_variable_is_refused() {
    let shop = Shop::new("");
    shop.build();
    let mut command = Command::new(shop.program());
    command.env_clear().env("PORT", shop.number.to_string());
    let _copy = ByHand::listening(command, shop.number);
    let refused = shop.fixture.xtask(&["up", "-d"]).ends_with(5);
    refused.says("`GOODS` is not set");
}

#[test]
fn stale_build_needs_replace() {
    let shop = Shop::new("socket-activation = true");
    shop.build();
    let mut copy = shop.by_hand(&[]);
    let fixture = &shop.fixture;
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(is_adopted(fixture, "stock"));
    fixture.edit("apps/stockroom/src/bin/stockroom.rs", "\"listening\"", "\"listening now\"");

    let stale = fixture.xtask(&["up", "-d"]).ends_with(5);
    stale.says("another build").says(&format!("pid {}", copy.pid())).says("running for");
    assert_eq!(phase(fixture, "stock"), "failed");
    assert!(copy.is_alive());

    fixture.xtask(&["restart", "--replace", "stock"]).ends_with(0);
    assert!(!copy.ended().success());
    fixture.xtask(&["logs", "stock"]).ends_with(0).says("listening now");
}

#[test]
fn restart_with_replace_stops_an_adopted_process() {
    let shop = Shop::new("");
    shop.build();
    let mut copy = shop.by_hand(&[]);
    shop.fixture.xtask(&["up", "-d"]).ends_with(0);
    shop.fixture.xtask(&["restart", "--replace", "stock"]).ends_with(0);
    assert!(!copy.ended().success());
    assert_eq!(get(shop.number, "/").unwrap().body, pid(&shop.fixture, "stock").to_string());
}

#[test]
fn command_is_recognised_by_arguments_and_killed() {
    let number = free_port();
    let flags = "--listen-env --http 200 --ignore-term";
    let settings = format!("port = {number}\nstop = {{ timeout = \"300ms\" }}");
    let fixture = stand(&[("deaf", flags, &settings)]).write();

    let mut other = ByHand::misbehaving("--listen-env --http 200", number);
    fixture.xtask(&["up", "-d"]).ends_with(5).says(&format!("pid {}", other.pid()));
    fixture.xtask(&["up", "-d", "--replace"]).ends_with(5);
    assert!(other.is_alive());
    drop(other);

    let mut copy = ByHand::misbehaving(flags, number);
    fixture.xtask(&["up", "-d"]).ends_with(0).says("adopted");
    fixture.xtask(&["up", "-d", "--replace"]).ends_with(0);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&copy.ended()), Some(9));
    assert_eq!(get(number, "/").unwrap().body, pid(&fixture, "deaf").to_string());
}

#[test]
fn process_of_another_user_is_not_adopted() {
    use std::os::unix::process::CommandExt as _;

    if !rustix::process::geteuid().is_root() {
        return xtask_client::harness::skipped("root");
    }
    let number = free_port();
    let flags = "--listen-env --http 200";
    let fixture = stand(&[("shop", flags, &format!("port = {number}"))]).write();
    // The other user may not enter the folder of the program.
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let program = folder.path().join("misbehave");
    std::fs::copy(misbehave(), &program).unwrap();
    let mut command = Command::new(program);
    command.args(flags.split(' ')).env("HOST", "127.0.0.1").env("PORT", number.to_string());
    let mut stranger = ByHand::listening(
        {
            command.uid(65533).gid(65533);
            command
        },
        number,
    );
    for flags in [&["up", "-d"][..], &["up", "-d", "--replace"]] {
        let refused = fixture.xtask(flags).ends_with(5);
        refused.says(&format!("pid {}", stranger.pid())).says("user 65533");
    }
    assert!(stranger.is_alive());
}

#[test]
fn foreign_port_holder_is_named_and_untouched() {
    for activation in ["", "socket-activation = true"] {
        let shop = Shop::new(activation);
        let mut stranger = ByHand::misbehaving("--listen-env --http 200", shop.number);
        for flags in [&["up", "-d"][..], &["up", "-d", "--replace"]] {
            let refused = shop.fixture.xtask(flags).ends_with(5);
            refused
                .says(&format!("port {}", shop.number))
                .says(&format!("pid {}", stranger.pid()))
                .says(&misbehave().display().to_string())
                .says("--listen-env --http 200")
                .says("user ")
                .says("up --ports auto");
        }
        assert!(stranger.is_alive());
        assert_eq!(get(shop.number, "/").unwrap().body, stranger.pid().to_string());
        shop.fixture.xtask(&["up", "-d", "--ports", "auto"]).ends_with(0);
        assert_ne!(port(&shop.fixture, "stock"), shop.number);
        assert_eq!(get(shop.number, "/").unwrap().body, stranger.pid().to_string());
    }
}

/// They count who connects to them, so that not even a look at them is missed.
#[test]
fn every_foreign_port_holder_is_named() {
    let numbers: Vec<u16> = std::iter::repeat_with(free_port).take(5).collect();
    let two = |at: usize| {
        format!("ports = {{ http = {}, metrics = {} }}\n", numbers[at], numbers[at + 1])
    };
    // A service that waits for another one fails with it, and may never try its own port.
    let on = format!("port = {}\nuses = [\"base\"]\n", numbers[2]);
    let inherits = format!("socket-activation = true\nready = {{ tcp = true }}\n{}", two(3));
    let fixture = stand(&[
        ("base", SERVE, &two(0)),
        ("mid", SERVE, &on),
        ("aside", "--inherit --http 200", &inherits),
    ])
    .write();
    let flags = |number: &u16| format!("--listen-env --http 200 --count --ready-line at:{number}");
    let mut strangers: Vec<ByHand> =
        numbers.iter().map(|number| ByHand::misbehaving(&flags(number), *number)).collect();
    let asked = |number: u16| {
        let body = get(number, "/").unwrap().body;
        let (pid, count) = body.split_once(' ').unwrap();
        (pid.parse::<i32>().unwrap(), count.parse::<u64>().unwrap())
    };
    let before: Vec<(i32, u64)> = numbers.iter().map(|number| asked(*number)).collect();
    let shell = shell(fixture.root());
    let user = cmd!(shell, "id -un").read().unwrap();

    // Without `--keep-going` the start ends at the first conflict.
    for (args, least) in [
        (&["up", "-d"][..], 1),
        (&["up", "-d", "--replace"], 1),
        (&["up", "-d", "--keep-going"], numbers.len()),
    ] {
        let refused = fixture.xtask(args).ends_with(5);
        let mut named = 0;
        for (number, stranger) in numbers.iter().zip(&strangers) {
            let mut said = refused.stderr.split(['\n', ';']);
            let port = format!("port {number} ");
            let Some(held) = said.find(|part| part.contains(&port)) else { continue };
            for words in [
                format!("(pid {}, user {})", stranger.pid(), user.trim()),
                format!("`{}`", misbehave().display()),
                flags(number),
            ] {
                assert!(held.contains(&words), "`{words}` is not said of {port}\n{refused}");
            }
            named += 1;
        }
        assert!(named >= least, "{named} of {numbers:?} are named\n{refused}");
        fixture.xtask(&["down"]).ends_with(0);
        fixture.is_quiet();
    }
    assert!(strangers.iter_mut().all(ByHand::is_alive));
    let after: Vec<(i32, u64)> = numbers.iter().map(|number| asked(*number)).collect();
    let expected: Vec<(i32, u64)> = before.iter().map(|(pid, count)| (*pid, count + 1)).collect();
    assert_eq!(after, expected, "another process has connected");
}

#[test]
fn hidden_port_holder_is_named_by_user() {
    // In a user namespace of its own the tool may not look at processes outside.
    let possible = Command::new("unshare").args(["-r", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        xtask_client::harness::skipped("user namespaces");
        return;
    }
    let shop = Shop::new("");
    let mut stranger = ByHand::misbehaving("--listen-env --http 200", shop.number);
    let inside = shop.fixture.command();
    let up = shop.fixture.spawn_with(
        &["-r", "--", env!("CARGO_BIN_EXE_cargo-services"), "up", "-d"],
        |c| {
            let mut unshare = Command::new("unshare");
            unshare.current_dir(shop.fixture.root()).env_clear();
            unshare.envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))));
            *c = unshare;
        },
    );
    let refused = up.wait(SOON * 4).ends_with(5);
    refused.says(&format!("port {} is held by a program of user", shop.number));
    assert!(stranger.is_alive());
}

#[test]
fn adopt_setting_accepts_any_ready_process() {
    let shop = Shop::new(
        "adopt = \"any\"\nready = { http = \"/\" }\nstart-timeout = \"500ms\"\nrestart = \"no\"",
    );
    let mut broken = ByHand::misbehaving("--listen-env --http 503", shop.number);
    let refused = shop.fixture.xtask(&["up", "-d"]).ends_with(5);
    refused.says(&format!("pid {}", broken.pid())).says("status 503");
    assert!(broken.is_alive());
    drop(broken);

    let mut stranger = ByHand::misbehaving("--listen-env --http 200", shop.number);
    shop.fixture.xtask(&["up", "-d"]).ends_with(0).says("adopted");
    assert_eq!(pid(&shop.fixture, "stock"), stranger.pid());
    shop.fixture.xtask(&["down"]).ends_with(0);
    assert!(stranger.is_alive());
}

#[test]
fn external_service_is_probed_and_untouched() {
    let number = free_port();
    let settings = format!("external = true\nport = {number}\nready = {{ http = \"/\" }}");
    let idle = PackageSpec::new("libs/idle", "idle").lib("");
    let fixture = Fixture::new("stand")
        .package(idle)
        .workspace(&format!("[workspace.metadata.services.bank]\n{settings}"))
        .write();
    let mut bank = ByHand::misbehaving("--listen-env --http 200", number);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(phase(&fixture, "bank"), "ready");
    fixture.xtask(&["down"]).ends_with(0);
    assert!(bank.is_alive());
}

#[test]
fn adoption_can_be_forbidden() {
    let shop = Shop::new("adopt = \"never\"");
    shop.build();
    let mut copy = shop.by_hand(&[]);
    let refused = shop.fixture.xtask(&["up", "-d"]).ends_with(5);
    refused.says("adopt = \"never\"").says(&format!("pid {}", copy.pid()));
    assert!(copy.is_alive());

    let shop = Shop::new("");
    shop.build();
    let mut copy = shop.by_hand(&[]);
    let explained = shop.fixture.xtask(&["explain", "stock", "--json", "--stack", "apart"]);
    assert_eq!(explained.ends_with(0).json()["adopt"], "never");
    shop.fixture.xtask(&["up", "-d", "--stack", "apart"]).ends_with(0);
    let status = shop.fixture.xtask(&["status", "--json", "--stack", "apart"]).json();
    assert!(status.to_string().contains("\"adopted\":false"), "{status:#}");
    assert!(!status.to_string().contains("\"adopted\":true"), "{status:#}");
    shop.fixture.xtask(&["down", "--stack", "apart"]).ends_with(0);
    assert!(copy.is_alive());
}

#[test]
fn debugged_copy_is_adopted_after_down() {
    let shop = Shop::new("socket-activation = true");
    let fixture = &shop.fixture;
    for ports in [&["up", "-d"][..], &["up", "-d", "--ports", "auto"]] {
        fixture.xtask(ports).ends_with(0);
        let number = port(fixture, "stock");
        fixture.xtask(&["down", "stock", "--only"]).ends_with(0);
        assert!(get(number, "/").is_none(), "its sockets are closed");
        let mut command = Command::new(shop.program());
        command.env_clear().envs(shop.variables()).env("PORT", number.to_string());
        let copy = ByHand::listening(command, number);
        fixture.xtask(ports).ends_with(0);
        assert_eq!(pid(fixture, "stock"), copy.pid());
        assert_eq!(port(fixture, "stock"), number);
        fixture.xtask(&["down", "stock", "--only"]).ends_with(0);
    }
}

#[test]
fn service_of_another_stack_is_left_running() {
    let shop = Shop::new("");
    let other = shop.fixture.out().join("other-state");
    std::fs::create_dir(&other).unwrap();
    let elsewhere = |args: &[&str]| {
        let ran = shop.fixture.spawn_with(args, |command| {
            command.env("XTASK_STATE_DIR", &other);
        });
        ran.wait(SOON * 4).ends_with(0)
    };
    elsewhere(&["up", "-d", "stock"]);
    let status = elsewhere(&["status", "--json"]).json();
    let theirs = i32::try_from(status["services"][0]["pid"].as_i64().unwrap()).unwrap();
    for flags in [&["up", "-d"][..], &["up", "-d", "--replace"]] {
        let refused = shop.fixture.xtask(flags).ends_with(5);
        refused.says("held by stack `dev`").says(&format!("pid {theirs}"));
    }
    assert!(alive(theirs));
    elsewhere(&["down"]);
}
