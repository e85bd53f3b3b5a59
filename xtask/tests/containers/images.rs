//! Images of built programs: small, without a shell, made once for one content, and tried.

use std::os::unix::fs::symlink;
use std::time::Duration;

use super::engine::Made;
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually};

const PROBED: &str = "[package.metadata.service]\nport = 0\nself-probe = [\"--check\", \"/x\"]\n";

fn one_service(workspace: &str) -> Fixture {
    let package = PackageSpec::new("stock", "stock").bin("stockd", SERVICE).metadata(PROBED);
    Fixture::new("Image shop").workspace(workspace).package(package)
}

#[test]
fn image_is_small_and_built_once() {
    let fixture = one_service("").write();
    let Some(made) = Made::by(&fixture) else { return };
    let first = fixture.xtask(&["image", "--json"]).ends_with(0).json();
    let name = first[0]["image"].as_str().unwrap();
    assert!(name.starts_with("localhost/image-shop/stock:"), "{name}");
    assert!(first[0]["size_bytes"].as_u64().unwrap() < 25_000_000, "{first:#}");
    assert_eq!((&first[0]["new"], &first[0]["service"]), (&true.into(), &"stock".into()));

    let inspect = |format: &str| made.ask(&["image", "inspect", "--format", format, name]);
    assert_eq!(inspect("{{.Config.User}}"), "10001:10001");
    assert_eq!(inspect("{{json .Config.Entrypoint}}"), "[\"/app/stockd\"]");
    let health = "[\"CMD\",\"/app/stockd\",\"--check\",\"/x\"]";
    assert_eq!(inspect("{{json .Config.Healthcheck.Test}}"), health);
    let content = first[0]["content"].as_str().unwrap();
    assert_eq!(inspect("{{index .Config.Labels \"xtask.content\"}}"), content);
    assert_eq!(inspect("{{index .Config.Labels \"xtask.service\"}}"), "stock");
    for shell in ["/bin/sh", "sh", "/bin/bash"] {
        let run = ["run", "--rm", "--network", "none", "--entrypoint", shell, name];
        assert!(!made.can(&run), "there is `{shell}` in the image");
    }

    let again = fixture.xtask(&["image", "stock", "--json"]).ends_with(0).json();
    assert_eq!((&again[0]["new"], &again[0]["image"]), (&false.into(), &name.into()));
    fixture.edit("stock/src/bin/stockd.rs", "listening", "it listens");
    let other = fixture.xtask(&["image"]).ends_with(0);
    assert!(!other.stdout.contains(name), "{other}");
    assert_eq!(made.all("image").len(), 2);
    assert_eq!(made.all("container"), Vec::<String>::new());
}

#[test]
fn ctrl_c_ends_the_build_for_images() {
    let fixture = one_service("").write();
    let Some(_made) = Made::by(&fixture) else { return };
    let endless = "fn main() { loop { std::thread::sleep(std::time::Duration::from_secs(9)) } }\n";
    fixture.file("stock/build.rs", endless);
    let running = fixture.spawn(&["image"]);
    eventually(Duration::from_secs(60), "a build script", || {
        let found = fixture.processes();
        found.iter().any(|process| process.command.contains("build-script-build")).then_some(())
    });
    running.signal(libc::SIGINT);
    running.wait(Duration::from_secs(30)).ends_with(130);
    fixture.is_quiet();
}

#[test]
fn image_with_unloadable_program_gets_no_tag() {
    // A base without the C library, which is an easy mistake.
    let fixture = one_service("").write();
    let Some(made) = Made::by(&fixture) else { return };
    let label = format!("xtask.workspace={}", xtask_client::workspace_name(&fixture.root()));
    let base = format!("localhost/image-shop-base:{}", std::process::id());
    fixture.file("empty/readme", "nothing\n");
    let root = fixture.root();
    let tar = root.join("base.tar");
    let packed = std::process::Command::new("tar")
        .arg("-cf")
        .args([&tar, &root.join("empty/readme")])
        .status();
    assert!(packed.unwrap().success());
    made.ask(&["import", "--change", &format!("LABEL {label}"), &tar.to_string_lossy(), &base]);

    fixture.edit(
        "Cargo.toml",
        "[profile.dev]",
        &format!("[workspace.metadata.xtask]\nbase-image = \"{base}\"\n\n[profile.dev]"),
    );
    let ran = fixture.xtask(&["image"]).ends_with(1);
    assert!(ran.stderr.contains("its program cannot be loaded in it"), "{ran}");
    // Other tests have workspaces of the same name.
    let ours = format!("label={label}");
    let named = made.ask(&["image", "ls", "--filter", &ours, "--format", "{{.Repository}}"]);
    assert!(!named.contains("image-shop/stock"), "{named}");
}

#[test]
fn image_contains_the_libraries_of_the_build() {
    let fixture = one_service("").write();
    let Some(made) = Made::by(&fixture) else { return };
    let image = || {
        let images = fixture.xtask(&["image", "--json"]).ends_with(0).json();
        images[0]["image"].as_str().unwrap().to_owned()
    };
    let base = image();
    let build = r#"
fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/nine.c"), "int nine(void) { return 9; }").unwrap();
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o", "libnine.so", "nine.c"]).current_dir(&out);
    assert!(cc.status().unwrap().success());
    println!("cargo:rustc-link-search=native={out}\ncargo:rustc-link-lib=dylib=nine");
}
"#;
    fixture.file("stock/build.rs", build);
    let source = "unsafe extern \"C\" { fn nine() -> i32; }\n\
                  fn main() { println!(\"ran {}\", unsafe { nine() }) }\n";
    fixture.file("stock/src/bin/stockd.rs", source);
    let run = |image: &str| made.ask(&["run", "--rm", "--network", "none", image]);
    assert_eq!(run(&image()), "ran 9");
    let metadata = format!("[workspace.metadata.xtask]\nbase-image = \"{base}\"\n\n[profile.dev]");
    fixture.edit("Cargo.toml", "[profile.dev]", &metadata);
    assert_eq!(run(&image()), "ran 9");
}

#[test]
fn missing_engine_does_not_affect_processes() {
    let fixture = one_service("").write();
    let silent = fixture.spawn_with(&["image"], |command| {
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        command.env("CONTAINER_HOST", "unix:///nonexistent/podman.sock");
    });
    let silent = silent.wait(Duration::from_secs(60)).ends_with(6);
    let known = ["docker", "podman"];
    if known.iter().any(|name| which::which(name).is_ok()) {
        assert!(silent.stderr.contains("its daemon does not answer"), "{silent}");
        assert!(silent.stderr.contains("hint:"), "{silent}");
    }

    // All programs of this machine but the engines.
    let programs = fixture.out().join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if !known.iter().any(|name| entry.file_name() == *name) {
                let _ = symlink(entry.path(), programs.join(entry.file_name()));
            }
        }
    }
    let run = |args: &[&str]| {
        let ran = fixture.spawn_with(args, |command| {
            command.env("PATH", &programs).env_remove("XTASK_ENGINE");
        });
        ran.wait(Duration::from_secs(60))
    };
    let missing = run(&["image"]).ends_with(6);
    assert!(missing.stderr.contains("neither `docker` nor `podman` is in `PATH`"), "{missing}");
    assert_eq!(missing.stderr.matches("error").count(), 1, "{missing}");
    let chosen = fixture.spawn_with(&["image"], |command| {
        command.env("XTASK_ENGINE", "no-such-engine");
    });
    let chosen = chosen.wait(Duration::from_secs(60)).ends_with(6);
    assert!(chosen.stderr.contains("`no-such-engine`, which `XTASK_ENGINE` names"), "{chosen}");
    run(&["up", "-d"]).ends_with(0);
    assert_eq!(fixture.service("stock")["phase"], "ready");
}
