//! `cargo xtask`: builds the tool and executes it, or executes the tool of the last build.
//!
//! Commands that only look at a running stack or stop it work whatever compiles, and wait for no
//! other build. Cargo builds the launcher with a profile, and so with a lock, of its own. The two
//! profiles have neighbouring folders: `launcher/xtask-launcher` is beside `debug/xtask`. The
//! launcher has no dependencies, so that it builds in a moment.
//!
//! In a workspace that the command `install` changed, this file is the member `xtask`, and the tool
//! is a workspace of its own below it. Its target folder is beside that of the launcher.
//!
//! If there is no tool yet, one cargo call builds it with the services of `up`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[expect(unreachable_pub, reason = "`xtask-control` exports them")]
#[cfg_attr(not(test), expect(dead_code, reason = "`xtask-control` uses the rest"))]
mod inherited;
mod services;
#[expect(unreachable_pub, reason = "`xtask-control` exports it")]
mod sources;

/// The tool's package and binary.
const TOOL: &str = "xtask";

/// Where an installed launcher has the tool's workspace, below its own package.
const INSTALLED: &str = "tool/Cargo.toml";

/// The name of the target folder of an installed tool, in that of the workspace.
const INSTALLED_TARGET: &str = "xtask-tool";

/// The variable that passes the command's name on to the tool, and the name.
const CALLED_AS: (&str, &str) = ("XTASK_CALLED_AS", "cargo xtask");

/// The commands that need no build of the tool, nor does any command with `--no-build`.
/// `ps` and `stop` are words of other tools for `status` and `down`.
const WITHOUT_BUILD: [&str; 6] = ["down", "logs", "ps", "status", "stop", "wait"];

/// Commands for people who work on the tool. Each is the program of a package of its own, which the
/// tool does not contain.
const OWN_PACKAGES: [(&str, &str); 1] = [("bench", "xtask-bench")];

/// Options whose value may stand before the command.
const WITH_VALUE: [&str; 3] = ["--color", "--manifest-path", "--stack"];

/// The search paths of the dynamic loader that cargo extends for the launcher.
const LOADER_PATHS: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"];

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let folder = env::current_exe().ok().and_then(|own| Some(own.parent()?.to_path_buf()));
    let installed = installed_tool();
    let target = folder.as_deref().and_then(|folder| target(folder, installed.is_some()));
    if let Some(tool) = target.as_deref().filter(|_| !needs_build(&args)).and_then(last_built) {
        if is_outdated(&tool) {
            eprintln!("        Note this is the tool of the last build: its sources have changed");
        }
        // It returns if another build is just replacing the tool; then cargo waits for that build.
        let _ = execute(Command::new(tool).args(&args), folder.as_deref());
    }
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let tool = target.as_deref().map(|target| target.join("debug").join(TOOL));
    if let Some(tool) = tool.filter(|tool| installed.is_none() && !tool.exists()) {
        if build_with_services(&cargo, &args, folder.as_deref()) {
            // It returns if cargo built the tool elsewhere.
            let _ = execute(Command::new(tool).args(&args), folder.as_deref());
        }
    }
    let mut build = cargo_call(&cargo);
    let (package, args) = match installed {
        Some(_) => (TOOL, &*args),
        None => package_and_args(&args),
    };
    build.args(["run", "--package", package]);
    if let (Some(manifest), Some(target)) = (installed, target) {
        build.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
    }
    build.arg("--").args(args);
    let error = execute(&mut build, folder.as_deref());
    eprintln!("error: failed to start `{}`: {error}", Path::new(&cargo).display());
    ExitCode::FAILURE
}

/// A call of cargo as a user types it.
fn cargo_call(cargo: &OsStr) -> Command {
    let mut call = Command::new(cargo);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(inherited::is_cargo_variable) {
            call.env_remove(name);
        }
    }
    call
}

/// Builds the tool and the services of the first `up` in one call, and returns whether it did. If
/// that fails, the calls that follow report it, with the exit code of the tool.
fn build_with_services(cargo: &OsStr, args: &[OsString], folder: Option<&Path>) -> bool {
    let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    let metadata = || {
        let mut call = cargo_call(cargo);
        let output = call.args(["metadata", "--no-deps", "--format-version", "1"]).output().ok()?;
        if output.status.success() { String::from_utf8(output.stdout).ok() } else { None }
    };
    let services = services::arguments(&words, metadata);
    if services.is_empty() {
        return false;
    }
    let mut build = cargo_call(cargo);
    build.args(["build", "--package", TOOL]).args(services);
    without_launcher_paths(&mut build, folder);
    build.status().is_ok_and(|status| status.success())
}

/// The manifest of the tool's workspace, if the launcher is installed in another one.
fn installed_tool() -> Option<PathBuf> {
    // Cargo sets the variable for what it runs. The workspace may have been renamed meanwhile.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let manifest = Path::new(&package).join(INSTALLED);
    if manifest.exists() { Some(manifest) } else { None }
}

/// The target folder of the tool, for a launcher in this folder.
fn target(folder: &Path, is_installed: bool) -> Option<PathBuf> {
    let parent = folder.parent()?;
    Some(if is_installed { parent.join(INSTALLED_TARGET) } else { parent.to_path_buf() })
}

/// The tool of the last build. After `cargo clean` only the processes of running stacks have it.
fn last_built(target: &Path) -> Option<PathBuf> {
    let mut tool = target.join("debug").join(TOOL);
    // With a target in its settings, cargo adds a folder of that name to each target folder.
    let triple = target.parent().and_then(Path::file_name);
    let below = triple.map(|triple| target.join(triple).join("debug").join(TOOL));
    if let Some(below) = below.filter(|below| below.exists()) {
        tool = below;
    }
    if tool.exists() {
        return Some(tool);
    }
    let deleted = PathBuf::from(format!("{} (deleted)", tool.display()));
    // Another user's process may show any path.
    let user = fs::metadata("/proc/self").ok()?.uid();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let own = processes.filter(|process| process.metadata().is_ok_and(|found| found.uid() == user));
    let mut programs = own.map(|process| process.path().join("exe"));
    programs.find(|program| fs::read_link(program).is_ok_and(|path| path == deleted))
}

/// Whether the tool must match the sources of the workspace.
fn needs_build(args: &[OsString]) -> bool {
    let mut words = args.iter().map(|arg| arg.to_str().unwrap_or_default());
    let mut command = None;
    while let Some(word) = words.next().filter(|word| *word != "--") {
        if word == "--no-build" {
            return false;
        } else if WITH_VALUE.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            command = command.or(Some(word));
        }
    }
    !command.is_some_and(|command| WITHOUT_BUILD.contains(&command))
}

/// The package whose program runs the command, and the program's arguments.
fn package_and_args(args: &[OsString]) -> (&'static str, &[OsString]) {
    let own = |first: &OsString| OWN_PACKAGES.iter().find(|(command, _)| first == command);
    match args.split_first().and_then(|(first, rest)| Some((own(first)?.1, rest))) {
        Some(own) => own,
        None => (TOOL, args),
    }
}

/// Replaces this process by the command, without the folders that cargo added to the loader's
/// search path for the launcher, which is in `folder`. Returns the error if that fails.
fn execute(command: &mut Command, folder: Option<&Path>) -> std::io::Error {
    without_launcher_paths(command, folder);
    command.env(CALLED_AS.0, CALLED_AS.1).exec()
}

/// Removes the folders that cargo added to the loader's search path for the launcher.
fn without_launcher_paths(command: &mut Command, folder: Option<&Path>) {
    for name in LOADER_PATHS {
        if let (Some(value), Some(folder)) = (env::var_os(name), folder) {
            match without(&value, folder) {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }
}

/// The search path without what is in `folder`; none if nothing is left.
fn without(paths: &OsStr, folder: &Path) -> Option<OsString> {
    let kept: Vec<PathBuf> =
        env::split_paths(paths).filter(|path| !path.starts_with(folder)).collect();
    if kept.is_empty() { None } else { env::join_paths(kept).ok() }
}

/// Whether a source is newer than the tool.
fn is_outdated(tool: &Path) -> bool {
    let built = fs::metadata(tool).and_then(|file| file.modified()).ok();
    built.is_some_and(|built| sources::newer(tool, built).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_on_a_running_stack_skip_the_build() {
        let needs = |args: &str| {
            needs_build(&args.split_ascii_whitespace().map(OsString::from).collect::<Vec<_>>())
        };
        for args in ["status", "--stack up logs -f", "--color=never stop", "up --no-build -d"] {
            assert!(!needs(args), "{args}");
        }
        for args in ["", "--help", "up", "up status", "--stack status up", "up a -- --no-build"] {
            assert!(needs(args), "{args}");
        }
    }

    #[test]
    fn bench_is_a_package_of_its_own() {
        let args: Vec<_> = ["bench", "--quick"].map(OsString::from).to_vec();
        assert_eq!(package_and_args(&args), ("xtask-bench", &args[1..]));
        assert_eq!(package_and_args(&args[1..]), (TOOL, &args[1..]));
        assert_eq!(package_and_args(&[]), (TOOL, &[][..]));
    }

    #[test]
    fn search_path_loses_only_the_launchers_folders() {
        let paths = OsStr::new("/t/launcher/deps:/t/launcher:/opt/lib");
        assert_eq!(without(paths, Path::new("/t/launcher")), Some("/opt/lib".into()));
        assert_eq!(without(OsStr::new("/t/launcher/deps"), Path::new("/t/launcher")), None);
    }
}
