//! A program that runs under `cargo run` runs under `up`, and both use cargo's settings of the
//! folder in which the user stands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use xshell::cmd;
use xtask_test_support::{Fixture, PackageSpec, Ran, shell};

/// How long a build beside other tests may take.
const BUILD: Duration = Duration::from_secs(120);

const METADATA: &str = "[package.metadata.service]\nready = { log = \"ran\" }\nrestart = \"no\"\n";

/// A service that prints this expression.
fn printing(expression: &str) -> String {
    format!(
        "fn main() {{ println!(\"ran {{}}\", {expression}); loop {{ std::thread::park() }} }}\n"
    )
}

fn service(name: &str, source: &str) -> PackageSpec {
    PackageSpec::new(&format!("apps/{name}"), name).bin(name, source).metadata(METADATA)
}

fn last_line(fixture: &Fixture, service: &str) -> String {
    fixture.xtask(&["logs", "--raw", "-n", "1", service]).ends_with(0).stdout.trim().to_owned()
}

/// Two services, one with a library of its build script, one with a member that is a `dylib`.
fn with_shared_libraries() -> Fixture {
    let native =
        format!("unsafe extern \"C\" {{ fn nine() -> i32; }}\n{}", printing("unsafe { nine() }"));
    let library = PackageSpec::new("libs/shared", "shared").lib("pub fn nine() -> i32 { 9 }");
    let dynamic = service("dynamic", &printing("shared::nine()"));
    let fixture = Fixture::new("libraries")
        .package(service("native", &native))
        .package(library.manifest("[lib]\ncrate-type = [\"dylib\"]"))
        .package(dynamic.manifest("[dependencies]\nshared = { path = \"../../libs/shared\" }"))
        .write();
    fixture.file(
        "apps/native/build.rs",
        r#"
fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/nine.c"), "int nine(void) { return 9; }").unwrap();
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o", "libnine.so", "nine.c"]).current_dir(&out);
    assert!(cc.status().unwrap().success());
    println!("cargo:rustc-link-search=native={out}\ncargo:rustc-link-lib=dylib=nine");
}
"#,
    );
    fixture
}

#[test]
fn shared_libraries_are_found_as_under_cargo_run() {
    let fixture = with_shared_libraries();
    for arguments in [&["up", "-d"][..], &["up", "-d", "--no-build"]] {
        fixture.xtask(arguments).ends_with(0);
        assert!(last_line(&fixture, "native").ends_with("ran 9"));
        assert!(last_line(&fixture, "dynamic").ends_with("ran 9"));
        fixture.xtask(&["down"]).ends_with(0);
    }
}

#[test]
fn changed_shared_library_restarts_only_its_programs() {
    let fixture = with_shared_libraries();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let pid = |name| fixture.service(name)["pid"].as_i64();
    let before = (pid("native"), pid("dynamic"));
    fixture.edit("libs/shared/src/lib.rs", "9", "10");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(last_line(&fixture, "dynamic").ends_with("ran 10"));
    assert_eq!(pid("native"), before.0);
    assert_ne!(pid("dynamic"), before.1);

    fs::remove_dir_all(fixture.root().join("target")).unwrap();
    fixture.xtask(&["restart", "--no-build", "native", "dynamic"]).ends_with(0);
    assert_ne!(pid("native"), before.0);
    assert!(last_line(&fixture, "native").ends_with("ran 9"));
    assert!(last_line(&fixture, "dynamic").ends_with("ran 10"));
}

#[test]
fn program_starts_beside_the_other_files_of_cargo() {
    let own = "std::env::current_exe().unwrap().display()";
    let fixture = Fixture::new("beside").package(service("one", &printing(own))).write();
    let place = fixture.root().join("target/debug/one");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(last_line(&fixture, "one").ends_with(&format!("ran {}", place.display())));

    fs::remove_file(&place).unwrap();
    fixture.xtask(&["restart", "--no-build", "one"]).ends_with(0);
    let kept = last_line(&fixture, "one");
    assert!(kept.contains(fixture.state().to_str().unwrap()), "{kept}");

    let pid = fixture.service("one")["pid"].as_i64();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(fixture.service("one")["pid"].as_i64(), pid, "the program is the same");
    fixture.xtask(&["restart", "--no-build", "one"]).ends_with(0);
    assert!(last_line(&fixture, "one").ends_with(&format!("ran {}", place.display())));
}

#[test]
fn no_build_finds_the_programs_of_the_configured_target() {
    let fixture = Fixture::new("targets").package(service("one", &printing("1"))).write();
    let source = "apps/one/src/bin/one.rs";
    let build = || {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        fixture.xtask(&["down"]).ends_with(0);
    };
    let started = || {
        fixture.xtask(&["up", "-d", "--no-build"]).ends_with(0);
        let line = last_line(&fixture, "one");
        fixture.xtask(&["down"]).ends_with(0);
        line
    };
    build();
    let shell = shell(fixture.root());
    let version = cmd!(shell, "rustc -vV").read().unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    fixture.file(".cargo/config.toml", &format!("[build]\ntarget = \"{host}\"\n"));
    fixture.edit(source, "1", "2");
    build();
    assert!(started().ends_with("ran 2"));
    fs::remove_file(fixture.root().join(".cargo/config.toml")).unwrap();
    assert!(started().ends_with("ran 1"));
}

#[test]
fn relative_settings_of_cargo_mean_the_users_folder() {
    let fixture = Fixture::new("relative").package(service("one", &printing("1"))).write();
    let wrapper = fixture.root().join("apps/one/wrapper");
    fixture.file("apps/one/wrapper", "#!/bin/sh\nexec \"$@\"\n");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    fixture.file("apps/one/.cargo/config.toml", "[profile.tuned]\ninherits = \"dev\"\n");
    let run = |args: &[&str]| -> Ran {
        let started = fixture.spawn_with(args, |command| {
            command.current_dir(fixture.root().join("apps/one"));
            command.env("CARGO_BUILD_TARGET_DIR", "there").env("RUSTC_WRAPPER", "./wrapper");
        });
        started.wait(BUILD)
    };
    run(&["up", "-d", "--profile", "tuned"]).ends_with(0);
    run(&["down"]).ends_with(0);
    assert!(fixture.root().join("apps/one/there/tuned/one").exists());
    assert!(!fixture.root().join("there").exists() && !fixture.root().join("target").exists());
    run(&["up", "-d", "--no-build", "--profile", "tuned"]).ends_with(0);
}
