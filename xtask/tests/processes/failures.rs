//! What goes wrong when others do something wrong: exit codes, causes, ways out.

use std::net::TcpListener;
use std::time::Duration;

use xtask_test_support::{Fixture, PackageSpec, SERVICE};

/// `front` waits for `stock`, which is the given program.
fn shop(stock: &str, settings: &str) -> Fixture {
    Fixture::new("shop")
        .package(
            PackageSpec::new("back", "stockroom")
                .bin("stockd", stock)
                .metadata(&format!("[package.metadata.service]\nname = \"stock\"\n{settings}")),
        )
        .package(PackageSpec::new("desk", "shopfront").bin("frontd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"front\"\nport = 0\ndepends-on = [\"stock\"]\n",
        ))
        .write()
}

#[test]
fn compile_error_exits_3_and_shows_once() {
    let fixture = shop("fn main() { let x: u32 = \"apples\"; }", "port = 0\n");
    let up = fixture.xtask(&["up", "-d"]).ends_with(3);
    assert_eq!(up.stderr.matches("mismatched types").count(), 1, "{up}");
    fixture.is_quiet();
}

#[test]
fn early_exit_is_code_4_with_last_lines() {
    let fixture = shop(
        "fn main() { println!(\"opening\"); eprintln!(\"no apples left\"); std::process::exit(9) }",
        "port = 0\nrestart = \"no\"\n",
    );
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    up.says("exited with status 9").says("no apples left").says("`front` is waiting on it");
    fixture.is_quiet();
}

#[test]
fn unready_service_is_code_4_with_probe_answer() {
    let fixture = shop(
        "fn main() { println!(\"thinking\"); loop { std::thread::park() } }",
        "port = 0\nstart-timeout = \"400ms\"\n",
    );
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    up.says("refused").says("thinking").says("`front` is waiting on it");
    fixture.is_quiet();
}

#[test]
fn held_port_is_code_5_and_names_the_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let fixture = shop(SERVICE, &format!("port = {port}\n"));
    let up = fixture.xtask(&["up", "-d"]).ends_with(5);
    let up = up.says(&port.to_string()).says(&std::process::id().to_string());
    up.says("cargo xtask up --ports auto");
    fixture.is_quiet();

    fixture.xtask(&["up", "-d", "--ports", "auto"]).ends_with(0);
    assert_eq!(fixture.service("front")["phase"], "ready");
}

#[test]
fn mistakes_in_two_files_are_reported_together() {
    let fixture = shop(SERVICE, "port = \"many\"\n");
    fixture.edit("desk/Cargo.toml", "[\"stock\"]", "[\"stok\"]");
    let up = fixture.xtask(&["up", "-d"]).ends_with(2);
    let up = up.says("back/Cargo.toml:").says("[wrong-type]").says("desk/Cargo.toml:");
    up.says("[unknown-service]").says("did you mean `stock`?").says("^");
}

#[test]
fn ctrl_c_stops_the_foreground_with_130() {
    let fixture = shop(SERVICE, "port = 0\n");
    let up = fixture.spawn(&["up"]);
    up.says(Duration::from_secs(60), "front");
    xtask_test_support::eventually(Duration::from_secs(60), "both ready", || {
        let status = fixture.xtask(&["status", "--json"]);
        (status.code == Some(0) && status.stdout.matches("\"ready\"").count() >= 2).then_some(())
    });
    up.signal(libc::SIGINT);
    up.wait(Duration::from_secs(20)).ends_with(130);
    fixture.is_quiet();
    fixture.xtask(&["status"]).ends_with(7);
}
