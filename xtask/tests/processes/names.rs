//! The name of the tool in its messages is what the user typed.

use std::os::unix::fs::symlink;
use std::process::Command;

use xtask_test_support::stand::stand;
use xtask_test_support::{Fixture, Ran, Running, tool};

/// Runs a program with the tool under several names on its path, and no launcher in front.
fn run(fixture: &Fixture, program: &str, args: &[&str]) -> Ran {
    let bin = fixture.out().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in ["cargo-services", "cargo-xtask", "helper"] {
        let _ = symlink(tool(), bin.join(name));
    }
    let mut command = fixture.command();
    command.env_remove("XTASK_CALLED_AS");
    let path = std::env::var("PATH").unwrap();
    let mut program = Command::new(program.replace("BIN", bin.to_str().unwrap()));
    program.env_clear().current_dir(fixture.root());
    program.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    program.env("PATH", format!("{}:{path}", bin.display()));
    Running::start(program, args, fixture.out().join("named"))
        .wait(std::time::Duration::from_secs(60))
}

#[test]
fn hint_names_the_command_that_was_typed() {
    let fixture = stand(&[("base", "", "")]).write();
    let bin = fixture.out().join("bin");
    for (program, first, name) in [
        ("cargo", Some("services"), "cargo services".to_owned()),
        ("cargo", Some("xtask"), "cargo xtask".to_owned()),
        ("cargo-services", None, "cargo-services".to_owned()),
        ("BIN/helper", None, bin.join("helper").display().to_string()),
    ] {
        let args = |rest: &'static str| first.into_iter().chain([rest]).collect::<Vec<_>>();
        let ran = run(&fixture, program, &args("status")).ends_with(7);
        ran.says(&format!("`{name} up` starts it"));
        let help = run(&fixture, program, &args("--help")).ends_with(0);
        let help = help.says(&format!("Usage: {name} ")).says(&format!("`{name} COMMAND --help`"));
        assert!(!help.stdout.contains('%'), "{help}");
        assert!(help.stdout.starts_with("Start, watch and test the services"), "{help}");
        let wrong = run(&fixture, program, &args("nonsense")).ends_with(2);
        wrong.says(&format!("`{name} --help` lists"));
        let version = run(&fixture, program, &args("--version")).ends_with(0);
        version.says(&format!("{name} {}", env!("CARGO_PKG_VERSION")));
    }
}
