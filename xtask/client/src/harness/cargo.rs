//! Cargo as a user calls it, from inside a test that another cargo runs.
//!
//! It calls the same cargo and keeps the user's settings; it only forgets what the outer
//! cargo said of the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::StartError;
use crate::inherited::is_of_cargo;

/// Cargo as the user would call it from a shell in `folder`: without the variables that a
/// test has from the cargo that runs it.
#[must_use]
pub fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_cargo) {
            command.env_remove(name);
        }
    }
    command
}

/// The workspace that a package's folder belongs to, as cargo sees it. Blocks meanwhile.
///
/// # Errors
/// When there is no cargo, or the folder is in no workspace.
pub fn workspace_of(package: &Path) -> Result<PathBuf, StartError> {
    let arguments = ["locate-project", "--workspace", "--message-format", "plain"];
    let said =
        |message| StartError::Cargo { command: format!("cargo {}", arguments.join(" ")), message };
    let output =
        cargo(package).args(arguments).output().map_err(|error| said(error.to_string()))?;
    let manifest = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    match manifest.parent() {
        Some(root) if output.status.success() => Ok(root.to_owned()),
        _ => Err(said(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_of_this_package_is_found() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(workspace_of(package).unwrap().join("Cargo.lock").exists());
    }
}
