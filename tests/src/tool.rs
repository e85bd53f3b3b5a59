//! The tool itself, for tests that run it on a workspace of their own.
//!
//! Most tests need it not: the harness calls it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use xtask_client::harness::{cargo, workspace_of};

/// A workspace in a temporary folder, and the tool run on it. Its stack ends, and
/// everything of it is deleted, when this value is dropped.
#[derive(Debug)]
pub struct Workspace {
    folder: tempfile::TempDir,
    tool: PathBuf,
}

impl Workspace {
    /// A workspace of these files, by their paths.
    ///
    /// # Panics
    /// When they cannot be written, or the tool cannot be built.
    #[must_use]
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = folder.path().join("workspace").join(path);
            std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))
                .and_then(|()| std::fs::write(&path, text))
                .unwrap_or_else(|error| panic!("writing `{}`: {error}", path.display()));
        }
        Self { folder, tool: tool() }
    }

    /// Runs the tool in the workspace's root and waits until it has ended.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the tool can be run")
    }

    /// As [`Workspace::run`], with what it printed; the status must be `code`.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn expect(&self, arguments: &[&str], code: i32) -> (String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let seen = output.status;
        assert_eq!(seen.code(), Some(code), "xtask {arguments:?}: {seen}\n{out}\n{err}");
        (out, err)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let folder = self.folder.path().join("workspace");
        let mut tool = Command::new(&self.tool);
        // The same clean start as cargo has there, from which a user would call the tool.
        for (name, _) in cargo(&folder).get_envs().filter(|(_, value)| value.is_none()) {
            tool.env_remove(name);
        }
        tool.current_dir(folder);
        tool.env("CARGO_TARGET_DIR", self.folder.path().join("target"));
        tool.env("XTASK_STATE_DIR", self.folder.path().join("state"));
        tool.env_remove(xtask_client::STACK_VARIABLE);
        tool.args(arguments);
        tool
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Also when the test failed before it came to its own `down`.
        self.command(&["down"]).output().ok();
    }
}

/// The tool as cargo builds it; nothing is left to build where a stack runs already.
fn tool() -> PathBuf {
    let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a workspace");
    let arguments = ["build", "--package", "xtask", "--message-format", "json"];
    let output = cargo(&root).args(arguments).output().expect("cargo can be run");
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut executables = messages.filter_map(|m| m["executable"].as_str().map(PathBuf::from));
    executables
        .next_back()
        .unwrap_or_else(|| panic!("no tool: {}", String::from_utf8_lossy(&output.stderr)))
}
