//! One workspace with everything in it that makes real workspaces hard: what can come
//! up comes up, and the truth is said about the rest.

use std::net::TcpListener;

use xtask_test_support::{Fixture, JOB, PackageSpec, SERVICE, get_at, misbehave};

/// Package, folder, binary and service names all differ. `mail` is the port of a
/// program that is not the tool's.
fn warehouse(mail: u16) -> Fixture {
    let misbehave = misbehave().display().to_string();
    Fixture::new("warehouse")
        .package(PackageSpec::new("crates/book", "book-keeping").bin("bookd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"ledger\"\nport = 0\n\
                 depends-on = { schema = \"succeeded\" }\nuses = [\"mailer\"]\n",
        ))
        .package(
            PackageSpec::new("apps/twins", "two-of-them")
                .bin("twin-one", SERVICE)
                .bin("twin-two", SERVICE)
                .metadata(
                    "[package.metadata.services.left]\nbin = \"twin-one\"\nport = 0\n\
                     depends-on = [\"ledger\"]\nuses = [\"right\"]\n\
                     args = [\"--peer\", \"${ledger.port}\", \"--me=${self.port}\"]\n\n\
                     [package.metadata.services.right]\nbin = \"twin-two\"\nport = 0\n\
                     depends-on = [\"left\"]\n",
                ),
        )
        .package(PackageSpec::new("jobs/tables", "make-tables").bin("tabler", JOB).metadata(
            "[package.metadata.service]\nname = \"schema\"\nkind = \"job\"\n\
             env = { JOB_FILE = \"${workspace.root}/schema.done\" }\n",
        ))
        .package(PackageSpec::new("apps/six", "sixth").bin("sixd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"six\"\nhost = \"::1\"\nport = 0\n\
             socket-activation = true\n",
        ))
        .package(
            PackageSpec::new("apps/quiet", "no-port").bin("quietd", SERVICE).metadata(
                "[package.metadata.service]\nname = \"silent\"\ndepends-on = [\"left\"]\n",
            ),
        )
        .package(PackageSpec::new("apps/last", "in-line").bin("lastd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"victim\"\nport = 0\ndepends-on = [\"liar\"]\n",
        ))
        .package(PackageSpec::new("libs/never", "never-built").lib("compile_error!(\"no\");"))
        .workspace(&format!(
            "[workspace.metadata.services.relay]\nport = 0\n\
             command = [{misbehave:?}, \"--listen-env\", \"--http\", \"200\"]\n\
             depends-on = [\"mailer\"]\n\n\
             [workspace.metadata.services.guard]\nport = 0\n\
             command = [{misbehave:?}, \"--listen-env\", \"--http\", \"401\"]\n\
             ready = {{ http = \"/\", status = [401] }}\n\n\
             [workspace.metadata.services.liar]\nport = 0\nrestart = \"no\"\n\
             command = [{misbehave:?}, \"--print-before-bind\", \"listening\", \
             \"--exit-after\", \"50\", \"--code\", \"7\"]\n\
             ready = {{ log = \"listening\", tcp = true }}\n\n\
             [workspace.metadata.services.mailer]\nexternal = true\nport = {mail}\n",
        ))
        .write()
}

#[test]
fn startable_services_start_and_others_are_reported() {
    let mail = TcpListener::bind("127.0.0.1:0").unwrap();
    let fixture = warehouse(mail.local_addr().unwrap().port());

    let up = fixture.xtask(&["up", "-d", "--keep-going"]).ends_with(4);
    let up = up.says("liar").says("exited with status 7").says("listening").says("victim");
    assert!(!up.stderr.contains("panicked"), "{up}");

    let status = fixture.status();
    let service = |name: &str| {
        let services = status["services"].as_array().unwrap();
        services.iter().find(|service| service["name"] == name).unwrap()
    };
    for name in ["ledger", "left", "right", "six", "silent", "relay", "guard", "mailer"] {
        assert_eq!(service(name)["phase"], "ready", "{name} in {status:#}");
    }
    assert_eq!(service("schema")["phase"], "succeeded");
    assert_eq!(service("liar")["phase"], "failed");
    assert_eq!(service("victim")["phase"], "failed");
    assert!(service("victim")["reason"].as_str().unwrap().contains("liar"), "{status:#}");
    assert!(service("mailer")["pid"].is_null());

    let url = |name: &str| service(name)["url"].as_str().unwrap().to_owned();
    let asked = |name: &str, path: &str| get_at(&url(name), path).unwrap().body;
    let port = |name: &str| url(name).rsplit(':').next().unwrap().to_owned();
    let folder = |path: &str| fixture.root().join(path).display().to_string();
    assert_eq!(asked("ledger", "/cwd"), folder("crates/book"));
    assert_eq!(asked("ledger", "/env/MAILER_URL"), url("mailer"));
    assert_eq!(asked("ledger", "/env/CARGO_MANIFEST_DIR"), folder("crates/book"));
    assert_eq!(
        asked("left", "/args"),
        format!("--peer\n{}\n--me={}", port("ledger"), port("left"))
    );
    assert_eq!(asked("left", "/env/RIGHT_URL"), url("right"));
    assert_eq!(asked("right", "/env/LEFT_PORT"), port("left"));
    assert_eq!(asked("right", "/"), service("right")["pid"].to_string());
    assert_eq!(url("six"), format!("http://[::1]:{}", port("six")));
    assert_eq!(asked("six", "/env/HOST"), "::1");
    assert_eq!(get_at(&url("guard"), "/").unwrap().status, 401);
    assert_eq!(asked("relay", "/"), service("relay")["pid"].to_string());
    assert_eq!(fixture.text("schema.done"), "done\n");

    fixture.xtask(&["down"]).ends_with(0);
    fixture.is_quiet();
}

#[test]
fn failed_start_leaves_nothing_without_keep_going() {
    let mail = TcpListener::bind("127.0.0.1:0").unwrap();
    let fixture = warehouse(mail.local_addr().unwrap().port());
    fixture.xtask(&["up", "-d"]).ends_with(4).says("exited with status 7").says("listening");
    fixture.is_quiet();
    fixture.xtask(&["status"]).ends_with(7);
}

#[test]
fn a_missing_external_service_is_named() {
    let mail = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mail.local_addr().unwrap().port();
    let fixture = warehouse(port);
    drop(mail);
    fixture.edit("Cargo.toml", "external = true\n", "external = true\nstart-timeout = \"300ms\"\n");
    fixture.xtask(&["up", "-d", "relay"]).ends_with(4).says("mailer").says(&port.to_string());
}
