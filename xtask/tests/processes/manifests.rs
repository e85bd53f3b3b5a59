//! Manifests that cannot be read: the message of cargo or an excerpt of the place, exit code 2, and
//! nothing started. Root ignores mode 000, so a folder in place of the file is unreadable here.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use xtask_test_support::{Fixture, PackageSpec, SERVICE};

fn shop() -> Fixture {
    let metadata = "[package.metadata.service]\nport = 0\n";
    let package = PackageSpec::new("shop", "shop").bin("shopd", SERVICE).metadata(metadata);
    Fixture::new("shop").package(package).write()
}

/// What is done to a manifest.
type Harm = fn(&Path);

/// The harm, and what is said about it beside the file's name.
const HARMS: [(Harm, &str); 7] = [
    (|path| fs::create_dir(path).unwrap(), "directory"),
    (|path| symlink("nowhere", path).unwrap(), "No such file"),
    (|path| symlink(path, path).unwrap(), "symbolic link"),
    (|path| fs::write(path, b"[package]\nname = \"\xff\xfe\"\n").unwrap(), "utf-8"),
    (|path| fs::write(path, "").unwrap(), "missing"),
    (|path| fs::write(path, "[package\n").unwrap(), "not valid TOML"),
    (|path| fs::write(path, "\0\0\0").unwrap(), "not valid TOML"),
];

#[test]
fn unreadable_member_manifest_is_named() {
    for (harm, words) in HARMS {
        let fixture = shop();
        let path = fixture.root().join("shop/Cargo.toml");
        fs::remove_file(&path).unwrap();
        harm(&path);
        for command in [&["up", "-d"][..], &["check"], &["graph"], &["explain", "shop"]] {
            let ran = fixture.xtask(command).ends_with(2).says(words).says("shop/Cargo.toml");
            assert!(!ran.stderr.contains("panicked"), "{ran}");
        }
        assert_eq!(fixture.processes(), []);
    }
}

#[test]
fn unreadable_root_manifest_is_named() {
    for (harm, words) in HARMS {
        let fixture = shop();
        let path = fixture.root().join("Cargo.toml");
        fs::remove_file(&path).unwrap();
        harm(&path);
        let ran = fixture.xtask(&["up", "-d"]).ends_with(2);
        // A file that is not there is none to cargo, which looks further up.
        let is_missing = words == "No such file" || words == "symbolic link";
        let ran = if is_missing { ran.says("Cargo.toml") } else { ran.says(words) };
        assert!(!ran.stderr.contains("panicked"), "{ran}");
        assert_eq!(fixture.processes(), []);
    }
}

#[test]
fn fifty_megabyte_manifest_is_refused_without_excerpt() {
    let fixture = shop();
    let mut text = vec![b'x'; 50_000_000];
    text.push(b'\n');
    fs::write(fixture.root().join("shop/Cargo.toml"), &text).unwrap();
    let begun = Instant::now();
    let ran = fixture.xtask(&["up", "-d"]).ends_with(2).says("shop/Cargo.toml");
    assert!(ran.stderr.len() < 64 * 1024, "{} bytes are said", ran.stderr.len());
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn non_utf8_workspace_path_is_refused() {
    let fixture = shop();
    let odd = fixture.out().join(OsStr::from_bytes(b"odd-\xff\xfe"));
    fs::rename(fixture.root(), &odd).unwrap();
    for args in [&["up", "-d"][..], &["status"], &["check"]] {
        let ran = fixture.spawn_with(args, |command| {
            command.current_dir(&odd);
        });
        let ran = ran.wait(Duration::from_secs(60)).ends_with(2);
        assert!(ran.stderr.contains("UTF-8") || ran.stderr.contains("Unicode"), "{ran}");
    }
    fs::rename(&odd, fixture.root()).unwrap();
}

#[test]
fn deleted_working_folder_is_reported() {
    let fixture = shop();
    let gone = fixture.out().join("gone");
    fs::create_dir(&gone).unwrap();
    for args in [&["up", "-d"][..], &["status"]] {
        let gone = gone.clone();
        let ran = fixture.spawn_with(args, |command| {
            // The shell goes where the folder then is not.
            let tool = command.get_program().to_owned();
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", "cd \"$1\" && rmdir \"$1\" && shift && exec \"$@\"", "sh"]);
            shell.arg(&gone).arg(tool).env_clear();
            shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            *command = shell;
        });
        let ran = ran.wait(Duration::from_secs(60));
        assert!(matches!(ran.code, Some(1 | 2)) && !ran.stderr.contains("panicked"), "{ran}");
        fs::create_dir_all(&gone).unwrap();
    }
}

#[test]
fn cargo_errors_are_json_problems() {
    let fixture = shop();
    let refused = fixture.xtask(&["check", "--json", "--manifest-path", "/no/where/Cargo.toml"]);
    let problems = refused.ends_with(2).json();
    assert_eq!(problems[0]["severity"], "error", "{problems}");
    assert!(problems[0]["message"].as_str().unwrap().contains("/no/where"), "{problems}");
}
