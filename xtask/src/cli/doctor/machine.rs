//! Checks of the machine: toolchain, programs, limits, file systems.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::process::{Resource, getrlimit};

use crate::view::doctor::Check;

/// Free space below which a build may fail.
const LITTLE_SPACE: u64 = 2 << 30;

/// Descriptors that a stack of a hundred services needs.
const FEW_DESCRIPTORS: u64 = 1024;

/// Watches that a large workspace needs.
const FEW_WATCHES: u64 = 8192;

/// The first line that a program prints for these arguments; none if it does not run.
fn first_line(program: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Cargo and the compiler, in at least the version that the tool needs.
pub(super) fn toolchain(least: &str) -> Check {
    const NAME: &str = "toolchain";
    const NEED: &str = "every build";
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let line = first_line(&cargo, &["--version"]);
    let version = line.as_deref().and_then(|line| line.split(' ').nth(1)).map(str::to_owned);
    match version {
        None => Check::fail(
            NAME,
            NEED,
            "`cargo` does not run".into(),
            "install Rust: https://rustup.rs",
        ),
        Some(version) if is_older(&version, least) => Check::fail(
            NAME,
            NEED,
            format!("cargo {version} is older than {least}"),
            "rustup update",
        ),
        Some(version) => Check::pass(NAME, NEED, format!("cargo {version}")),
    }
}

/// Whether the first two numbers of a version are lower than those of another.
fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(['.', '-']).take(2).map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(version) < numbers(than)
}

/// The C compiler, which links programs.
pub(super) fn linker() -> Check {
    const NAME: &str = "linker";
    const NEED: &str = "every build";
    match find("cc") {
        Some(path) => Check::pass(NAME, NEED, path.display().to_string()),
        None => Check::fail(
            NAME,
            NEED,
            "`cc` is not installed".into(),
            "install a C compiler: `apt-get install gcc libc6-dev` on Debian",
        ),
    }
}

/// A program of `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A container engine that answers.
pub(super) fn engine() -> Check {
    const NAME: &str = "engine";
    const NEED: &str = "services in containers (`--containers`, `image`, `export`)";
    let chosen = std::env::var_os("XTASK_ENGINE").map(PathBuf::from);
    let Some(program) = chosen.or_else(|| find("docker")).or_else(|| find("podman")) else {
        let mend = "install Docker or Podman: `apt-get install docker.io` on Debian";
        return Check::warn(NAME, NEED, "neither `docker` nor `podman` is installed".into(), mend);
    };
    match first_line(&program, &["version", "--format", "{{.Server.Version}}"]) {
        Some(version) => Check::pass(NAME, NEED, format!("{} {version}", program.display())),
        None => Check::warn(
            NAME,
            NEED,
            format!("`{} version` fails", program.display()),
            "start the engine, and check that your account may use it (group `docker`)",
        ),
    }
}

/// A program that only parts of a workspace need, in `PATH` or in one of the folders where its
/// package puts it.
fn optional(
    name: &'static str,
    programs: &[&str],
    folders: &[PathBuf],
    needed_for: &'static str,
    mend: &str,
) -> Check {
    let elsewhere = || {
        let files = folders.iter().flat_map(|folder| programs.iter().map(|name| folder.join(name)));
        files.into_iter().find(|file| is_executable(file))
    };
    match programs.iter().find_map(|name| find(name)).or_else(elsewhere) {
        Some(path) => Check::pass(name, needed_for, path.display().to_string()),
        None => Check::warn(
            name,
            needed_for,
            format!("`{}` is not installed", programs.join("`, `")),
            mend,
        ),
    }
}

/// Programs that only some tests and services need.
pub(super) fn programs() -> Vec<Check> {
    vec![
        optional(
            "nextest",
            &["cargo-nextest"],
            &[],
            "`ci` and faster tests",
            "cargo install --locked cargo-nextest",
        ),
        optional(
            "PostgreSQL",
            &["postgres"],
            &postgres_folders(),
            "services that run an installed PostgreSQL",
            "`apt-get install postgresql` on Debian",
        ),
        optional(
            "browser",
            &["chromium", "chromium-browser", "google-chrome"],
            &[],
            "tests in a browser",
            "`apt-get install chromium chromium-driver` on Debian",
        ),
    ]
}

/// The folders where Debian puts the programs of PostgreSQL.
fn postgres_folders() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).collect()
}

/// The number of files that a process may open.
pub(super) fn descriptors() -> Check {
    const NAME: &str = "descriptors";
    const NEED: &str = "stacks with many services";
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let shown = if most == u64::MAX { "no limit".to_owned() } else { format!("at most {most}") };
    match most < FEW_DESCRIPTORS {
        true => Check::warn(
            NAME,
            NEED,
            shown,
            format!("raise the hard limit: `ulimit -Hn {FEW_DESCRIPTORS}`"),
        ),
        false => Check::pass(NAME, NEED, shown),
    }
}

/// The number of folders that a user may watch.
pub(super) fn watches() -> Check {
    const NAME: &str = "file watches";
    const NEED: &str = "`up --watch`";
    let read = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    match read.ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(most) if most < FEW_WATCHES => Check::warn(
            NAME,
            NEED,
            format!("at most {most}"),
            "sysctl fs.inotify.max_user_watches=524288",
        ),
        Some(most) => Check::pass(NAME, NEED, format!("at most {most}")),
        None => Check::pass(NAME, NEED, "no limit is known".into()),
    }
}

/// Whether files can be written in the folder, and whether its file system has space and executes
/// programs where `executes` asks for it. `folder` may be missing: then its first existing parent
/// counts.
pub(super) fn file_system(
    name: &'static str,
    folder: &Path,
    executes: bool,
    needed_for: &'static str,
) -> Check {
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let shown = existing.display();
    let Ok(found) = statvfs(existing) else {
        let text = format!("`{shown}` cannot be examined");
        return Check::fail(name, needed_for, text, "check that the disk is mounted");
    };
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) || !is_writable(existing) {
        let text = format!("`{shown}` cannot be written");
        let mend = format!("check its owner and mode: `ls -ld {shown}`");
        return Check::fail(name, needed_for, text, mend);
    }
    if executes && found.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        let text = format!("`{shown}` is mounted with `noexec`");
        let mend = "set CARGO_TARGET_DIR to a folder of another file system";
        return Check::fail(name, needed_for, text, mend);
    }
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let text = format!("{} free in `{shown}`", size(free));
    match free {
        0..0x10_0000 => {
            Check::fail(name, needed_for, text, "delete files: `cargo clean` frees most")
        }
        _ if free < LITTLE_SPACE => {
            Check::warn(name, needed_for, text, "delete files: `cargo clean` frees most")
        }
        _ => Check::pass(name, needed_for, text),
    }
}

/// Whether a file can be created in the folder. Modes alone do not tell.
fn is_writable(folder: &Path) -> bool {
    tempfile::tempfile_in(folder).is_ok()
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 10 << 30 => format!("{} GiB", bytes >> 30),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use crate::view::doctor::Outcome;

    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(is_older("1.9.0", "1.85"));
        assert!(!is_older("1.95.0-nightly", "1.95"));
        assert!(!is_older("2.0.0", "1.85"));
    }

    #[test]
    fn missing_folder_is_judged_by_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let check = file_system("target", &folder.path().join("a/b"), true, "builds");
        assert_ne!(check.outcome, Outcome::Fail, "{check:?}");
        let check = file_system("target", Path::new("/proc/1"), true, "builds");
        assert_eq!(check.outcome, Outcome::Fail, "{check:?}");
    }

    #[test]
    fn missing_program_is_only_a_warning() {
        let check = optional("x", &["no-such-program"], &[], "tests", "install it");
        assert_eq!((check.outcome, check.mend.as_deref()), (Outcome::Warn, Some("install it")));
        assert_eq!(optional("sh", &["sh"], &[], "tests", "").outcome, Outcome::Pass);
    }
}
