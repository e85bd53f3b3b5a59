//! What cargo's own messages do not explain about a failed build: a signal, or a full file system.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::fs::statvfs;
use xtask_core::manifest::{ValueKind, Workspace};
use xtask_core::stack::{Exit, exit_text};

/// Linkers and compilers fail in many words below this number of bytes.
const SCARCE: u64 = 64 << 20;

/// The profiles of every workspace.
const BUILT_IN: [&str; 4] = ["dev", "release", "test", "bench"];

/// Why the build failed, and one command that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildFailure {
    pub message: String,
    pub hint: &'static str,
}

/// What may explain a failed build beside cargo's messages. `target` is the folder in which cargo
/// built.
pub fn explain(status: ExitStatus, target: &Path) -> Option<BuildFailure> {
    if let Some(signal) = status.signal() {
        return Some(BuildFailure {
            message: format!("cargo {}", exit_text(Exit::Signal(signal))),
            hint: "repeat the command; with `CARGO_BUILD_JOBS=1` cargo needs less memory",
        });
    }
    let found = statvfs(target).ok()?;
    let left = found.f_bavail.saturating_mul(found.f_frsize);
    // Some file systems do not count blocks or files.
    let what = match (found.f_blocks > 0 && left < SCARCE, found.f_files > 0, found.f_favail) {
        (true, ..) => format!("only {} MiB", left >> 20),
        (false, true, 0) => "no more files".to_owned(),
        (false, ..) => return None,
    };
    Some(BuildFailure {
        message: format!("the file system of `{}` has room for {what}", target.display()),
        hint: "delete files on that file system: `cargo clean` frees a target folder",
    })
}

/// The profile in cargo's arguments, if neither cargo nor the root's manifest declares it.
pub(super) fn undeclared_profile(args: &[String], workspace: &Workspace) -> Option<String> {
    let place = args.iter().position(|arg| arg == "--profile")?;
    let profile = args.get(place + 1)?;
    let manifest = workspace.manifests.first()?;
    let declared = match manifest.root.get("profile").map(|value| &value.kind) {
        Some(ValueKind::Table(profiles)) => profiles.get(profile).is_some(),
        _ => false,
    };
    let is_known = declared || BUILT_IN.contains(&profile.as_str());
    (!is_known).then(|| profile.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_explains_a_failed_build() {
        let failure = explain(ExitStatus::from_raw(9), Path::new("/")).unwrap();
        assert_eq!(failure.message, "cargo ended by signal 9 (SIGKILL)");
    }
}
