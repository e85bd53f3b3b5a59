//! Stacks in containers, whole or in part: the same graph, addresses, probes and ends as
//! with processes.

use std::time::Duration;

use super::engine::Made;
use xtask_test_support::{Fixture, JOB, PackageSpec, SERVICE, eventually, get_at};

const PATIENCE: Duration = Duration::from_secs(60);

/// A chain: `front` calls `stock`, and a job waits for both. One of them says itself when
/// it is ready, one is connected to.
pub(super) fn shop(name: &str) -> Fixture {
    Fixture::new(name)
        .package(PackageSpec::new("back", "stockroom").bin("stockd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"stock\"\nport = 0\nsocket-activation = true\n\
             env = { DATA = \"${stack.data}\" }\n",
        ))
        .package(PackageSpec::new("desk", "shopfront").bin("frontd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"front\"\nport = 0\ndepends-on = [\"stock\"]\n\
             args = [\"--of\", \"${stock.url}\"]\n",
        ))
        .package(PackageSpec::new("jobs", "fill-shelves").bin("filler", JOB).metadata(
            "[package.metadata.service]\nname = \"shelves\"\nkind = \"job\"\n\
             depends-on = [\"front\"]\nenv = { JOB_FILE = \"${stack.data}/shelves\" }\n",
        ))
        .stack("other")
}

pub(super) fn ask(fixture: &Fixture, service: &str, path: &str) -> String {
    let url = fixture.service(service)["url"].as_str().unwrap().to_owned();
    get_at(&url, path).unwrap_or_else(|| panic!("`{service}` at {url} does not answer")).body
}

/// What `front` gets from `stock` at the address in its environment.
fn through_front(fixture: &Fixture) -> String {
    let url = ask(fixture, "front", "/env/STOCK_URL");
    ask(fixture, "front", &format!("/call/{}/env/HOST", url.trim_start_matches("http://")))
}

#[test]
fn containers_of_a_stack_resolve_names() {
    let fixture = shop("whole").write();
    let Some(made) = Made::by(&fixture) else { return };
    fixture.xtask(&["up", "-d", "--containers"]).ends_with(0);
    let stock = fixture.service("stock");
    assert_eq!(stock["placement"], "container");
    let port = stock["ports"]["http"].as_u64().unwrap();
    assert_eq!(stock["url"], format!("http://127.0.0.1:{port}"));
    assert_eq!(ask(&fixture, "front", "/env/STOCK_URL"), format!("http://stock:{port}"));
    assert_eq!(ask(&fixture, "front", "/args"), format!("--of\nhttp://stock:{port}"));
    assert_eq!(through_front(&fixture), "0.0.0.0");
    assert_eq!(ask(&fixture, "stock", "/env/LISTEN_FDS"), "", "no socket is inherited");
    assert_eq!(fixture.service("shelves")["phase"], "succeeded");
    assert_eq!(made.all("container").len(), 2, "the job's container is gone");
    assert_eq!(made.all("network").len(), 1);
    let published = made.ask(&["port", &made.all("container")[0]]);
    assert!(published.lines().all(|line| line.contains("-> 127.0.0.1:")), "{published}");
    let log = fixture.xtask(&["logs", "stock"]).ends_with(0);
    assert!(log.stdout.contains("listening"), "{log}");

    let again = fixture.xtask(&["up", "-d", "--containers"]).ends_with(0);
    assert!(again.stdout.contains("already running"), "{again}");
    let run = fixture.service("stock")["run"].as_u64().unwrap();
    fixture.xtask(&["restart", "stock"]).ends_with(0);
    assert_eq!(fixture.service("stock")["run"], run + 1);
    assert_eq!(through_front(&fixture), "0.0.0.0");

    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(made.all("container"), Vec::<String>::new());
    assert_eq!(made.all("network"), Vec::<String>::new());
}

#[test]
fn each_service_can_be_placed_alone() {
    let fixture = shop("mixed").write();
    let Some(made) = Made::by(&fixture) else { return };
    let all = ["stock", "front", "shelves"];
    for alone in all {
        let rest: Vec<&str> = all.iter().copied().filter(|name| *name != alone).collect();
        for inside in [alone.to_owned(), rest.join(",")] {
            fixture.xtask(&["up", "-d", &format!("--containers={inside}")]).ends_with(0);
            let contained = |name: &str| inside.split(',').any(|other| other == name);
            let expected = |name| if contained(name) { "container" } else { "process" };
            for name in all {
                assert_eq!(fixture.service(name)["placement"], expected(name), "{inside}");
            }
            let host = if contained("stock") { "0.0.0.0" } else { "127.0.0.1" };
            assert_eq!(through_front(&fixture), host, "{inside}");
            assert_eq!(fixture.service("shelves")["phase"], "succeeded", "{inside}");
        }
    }
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(made.all("container"), Vec::<String>::new());
}

#[test]
fn ended_container_restarts_and_failed_job_fails() {
    let fixture = shop("ends").write();
    let Some(_made) = Made::by(&fixture) else { return };
    fixture.xtask(&["up", "-d", "front", "--containers"]).ends_with(0);
    let url = fixture.service("front")["url"].as_str().unwrap().to_owned();
    let _ = get_at(&url, "/exit/3");
    eventually(PATIENCE, "another run of `front`", || {
        let front = fixture.service("front");
        (front["run"] == 2 && front["phase"] == "ready").then_some(())
    });
    assert_eq!(fixture.service("front")["restarts"], 1);
    fixture.edit("jobs/src/bin/filler.rs", "println!(\"working\");", "std::process::exit(9);");
    let up = fixture.xtask(&["up", "-d", "--containers"]).ends_with(4);
    assert!(up.stderr.contains("exited with status 9"), "{up}");
    fixture.xtask(&["down"]).ends_with(0);
}

#[test]
fn edit_runs_in_new_image_and_loses_no_caller() {
    let fixture = shop("edited").write();
    let Some(made) = Made::by(&fixture) else { return };
    fixture.xtask(&["up", "-d", "front", "--containers", "--watch"]).ends_with(0);
    let (stock, front) = (fixture.service("stock"), fixture.service("front"));
    let url = stock["url"].as_str().unwrap();
    fixture.edit("back/src/bin/stockd.rs", "\"listening\"", "\"new code\"");
    eventually(PATIENCE, "another run of `stock`", || {
        let answer = get_at(url, "/env/HOST").expect("a caller is lost");
        assert_eq!(answer.body, "0.0.0.0");
        let now = fixture.service("stock");
        (now["run"] != stock["run"] && now["phase"] == "ready").then_some(())
    });
    assert_eq!(fixture.service("front")["run"], front["run"]);
    assert!(fixture.xtask(&["logs", "stock"]).ends_with(0).stdout.contains("new code"));
    assert_eq!(made.all("image").len(), 3, "`stock` has two");
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(made.all("container"), Vec::<String>::new());
}

#[test]
fn callers_queue_while_a_container_restarts() {
    let fixture = shop("held").write();
    let Some(made) = Made::by(&fixture) else { return };
    fixture.xtask(&["up", "-d", "front", "--containers"]).ends_with(0);
    let stock = fixture.service("stock")["url"].as_str().unwrap().to_owned();
    let published = made.all("container");
    let published = published.iter().filter(|id| !made.ask(&["port", id]).is_empty());
    assert_eq!(published.count(), 1, "only that of `front`, which binds by itself");
    for _ in 0..2 {
        // It dies at once, without an answer.
        assert!(get_at(&stock, "/exit/3").is_none());
        // From here, and from a container: both wait, and neither is turned away.
        let here = get_at(&stock, "/env/HOST").expect("a caller from here is lost");
        assert_eq!(here.body, "0.0.0.0");
        assert!(get_at(&stock, "/exit/3").is_none());
        assert_eq!(through_front(&fixture), "0.0.0.0");
    }
    assert_eq!(fixture.service("stock")["restarts"], 4);
    fixture.xtask(&["down", "stock", "--only"]).ends_with(0);
    assert!(get_at(&stock, "/env/HOST").is_none(), "its socket is closed");
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(made.all("container"), Vec::<String>::new());
}

#[test]
fn two_stacks_have_separate_networks() {
    let fixture = shop("two").write();
    let Some(made) = Made::by(&fixture) else { return };
    fixture.xtask(&["up", "-d", "front", "--containers"]).ends_with(0);
    fixture.xtask(&["up", "-d", "front", "--stack", "other", "--containers"]).ends_with(0);
    assert_eq!(made.all("network").len(), 2);
    fixture.xtask(&["down", "--stack", "other"]).ends_with(0);
    assert_eq!(made.all("network").len(), 1);
    assert_eq!(made.all("container").len(), 2);
    assert_eq!(through_front(&fixture), "0.0.0.0");
    fixture.xtask(&["down"]).ends_with(0);
}

#[test]
fn ctrl_c_stops_containers_in_order() {
    let fixture = shop("front").write();
    let Some(made) = Made::by(&fixture) else { return };
    let up = fixture.spawn(&["up", "front", "--containers"]);
    up.says(PATIENCE, "http://127.0.0.1");
    up.signal(libc::SIGINT);
    let up = up.wait(PATIENCE).ends_with(130);
    let at = |text: &str| up.stderr.find(text).unwrap_or_else(|| panic!("no `{text}`\n{up}"));
    assert!(at("Stopped front") < at("Stopped stock"), "{up}");
    assert_eq!(made.all("container"), Vec::<String>::new());
    assert_eq!(made.all("network"), Vec::<String>::new());
}

#[test]
fn missing_engine_is_reported_before_any_build() {
    let fixture = shop("none").write();
    for args in [["up", "-d", "--containers"].as_slice(), &["verify-deps", "--containers"]] {
        let run = fixture.spawn_with(args, |command| {
            command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
            command.env("CONTAINER_HOST", "unix:///nonexistent/podman.sock");
        });
        let ran = run.wait(PATIENCE).ends_with(6);
        assert_eq!(ran.stderr.matches("error").count(), 1, "{ran}");
        assert!(!ran.stderr.contains("Compiling"), "{ran}");
    }
    let named = fixture.xtask(&["up", "--containers=stok"]).ends_with(2);
    assert!(named.stderr.contains("did you mean `stock`"), "{named}");
}
