//! Asks cargo for what a test needs to start a stack.

use std::path::{Path, PathBuf};

use xtask_control::cargo;

use super::error::StartError;

/// The subcommand of cargo that is the tool: that of the workspace, or the installed one.
pub(crate) fn subcommand(workspace: &Path) -> &'static str {
    let listed = cargo(workspace).arg("--list").output().map(|listed| listed.stdout);
    match has_own_tool(&String::from_utf8_lossy(&listed.unwrap_or_default())) {
        true => "xtask",
        false => "services",
    }
}

/// Whether cargo's list of commands has that of the workspace.
fn has_own_tool(list: &str) -> bool {
    list.lines().any(|line| line.split_whitespace().next() == Some("xtask"))
}

/// The root of the workspace of a package. Blocks while cargo runs.
///
/// # Errors
/// When cargo cannot be run, or the folder is not in a workspace.
pub fn workspace_of(package: &Path) -> Result<PathBuf, StartError> {
    let arguments = ["locate-project", "--workspace", "--message-format", "plain"];
    let failed = |message| StartError::Cargo(format!("cargo {}", arguments.join(" ")), message);
    let output = cargo(package).args(arguments).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    let manifest = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    match manifest.parent() {
        Some(root) if output.status.success() => Ok(root.to_owned()),
        _ => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_tool_is_used_without_an_alias() {
        assert!(has_own_tool("Installed Commands:\n    add   Add\n    xtask  alias: run\n"));
        assert!(!has_own_tool("Installed Commands:\n    services\n    task   xtask\n"));
    }

    #[test]
    fn workspace_of_this_package_is_found() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(workspace_of(package).unwrap().join("Cargo.lock").exists());
    }
}
