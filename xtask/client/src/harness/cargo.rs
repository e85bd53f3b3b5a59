//! Runs cargo from a test that cargo itself runs, as a user would run it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::StartError;
use crate::inherited::is_cargo_variable;

/// The same cargo, in `folder`, with the user's settings, but without the variables that the outer
/// cargo and nextest set for the test. With nextest's variables, a nested run would count as part
/// of the outer one and share its stack.
pub fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(folder);
    let of_runner = |name: &str| is_cargo_variable(name) || name.starts_with("NEXTEST");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_runner) {
            command.env_remove(name);
        }
    }
    command
}

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

    #[test]
    fn nested_cargo_is_not_part_of_the_outer_run() {
        let command = cargo(Path::new("."));
        let removed = |name: &str| command.get_envs().any(|set| set == (name.as_ref(), None));
        let outer = std::env::vars().map(|(name, _)| name);
        let outer: Vec<_> = outer.filter(|name| name.starts_with("NEXTEST")).collect();
        assert!(outer.iter().all(|name| removed(name)), "{outer:?}");
        assert!(removed("CARGO_MANIFEST_DIR"));
    }
}
