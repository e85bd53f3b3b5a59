//! Runs the tool on a temporary workspace, for tests that do not use the application.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use xtask_client::harness::{cargo, workspace_of};

/// A workspace in a temporary folder. Dropping it stops its stack and deletes the folder.
#[derive(Debug)]
pub struct Workspace {
    folder: tempfile::TempDir,
    tool: PathBuf,
}

impl Workspace {
    /// Creates a workspace from paths and contents of files.
    ///
    /// # Panics
    /// When a file cannot be written, or the tool cannot be built.
    #[must_use]
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = folder.path().join("workspace").join(path);
            std::fs::create_dir_all(path.parent().expect("a path with a folder"))
                .and_then(|()| std::fs::write(&path, text))
                .unwrap_or_else(|error| panic!("failed to write `{}`: {error}", path.display()));
        }
        Self { folder, tool: tool() }
    }

    /// Runs the tool in the root of the workspace.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the tool starts")
    }

    /// Runs the tool, asserts its exit code, and returns standard output and standard error.
    ///
    /// # Panics
    /// When the exit code differs.
    #[track_caller]
    pub fn expect(&self, arguments: &[&str], code: i32) -> (String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let status = output.status;
        assert_eq!(status.code(), Some(code), "xtask {arguments:?}: {status}\n{out}\n{err}");
        (out, err)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let folder = self.folder.path().join("workspace");
        let mut tool = Command::new(&self.tool);
        // The environment of a user's shell, as for `cargo`.
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
        // A failed test may not have run `down`.
        self.command(&["down"]).output().ok();
    }
}

/// Builds the tool and returns its path.
fn tool() -> PathBuf {
    let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a workspace");
    let arguments = ["build", "--package", "xtask", "--message-format", "json"];
    let output = cargo(&root).args(arguments).output().expect("cargo starts");
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut executables = messages.filter_map(|m| m["executable"].as_str().map(PathBuf::from));
    executables.next_back().unwrap_or_else(|| {
        panic!("cargo built no tool: {}", String::from_utf8_lossy(&output.stderr))
    })
}
