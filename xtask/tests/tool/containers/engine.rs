//! The engine as the tests ask it, and the removal of what they made.
//!
//! It judges nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What a test makes in the engine: gone when this is dropped.
pub(crate) struct Made {
    engine: PathBuf,
    label: String,
}

impl Made {
    /// For a test in the workspace at that root; none, said aloud, if no engine answers. The
    /// test takes its stacks down before this is dropped: nothing goes while it is in use.
    pub(crate) fn in_workspace(root: &Path) -> Option<Self> {
        let engine = engine()?.clone();
        let label = format!("label=xtask.workspace={}", xtask_client::workspace_name(root));
        Some(Self { engine, label })
    }

    /// Whether the engine is Docker, which Compose talks to.
    pub(crate) fn is_docker(&self) -> bool {
        self.engine.ends_with("docker")
    }

    /// What the engine prints for these arguments.
    #[track_caller]
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        let output = Command::new(&self.engine).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{args:?}` failed: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Whether the engine does what these arguments say.
    pub(crate) fn can(&self, args: &[&str]) -> bool {
        Command::new(&self.engine).args(args).output().unwrap().status.success()
    }

    /// The identifiers of what this test made: of `image`, `container` or `network`.
    #[track_caller]
    pub(crate) fn all(&self, kind: &str) -> Vec<String> {
        let mut args = vec![kind, "ls", "--quiet", "--no-trunc", "--filter", &self.label];
        if kind == "container" {
            args.push("--all");
        }
        let mut ids: Vec<String> = self.ask(&args).lines().map(str::to_owned).collect();
        ids.dedup();
        ids
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // A panic here, while the test fails already, would end the process.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (kind, force) in [("container", true), ("network", false), ("image", true)] {
                for id in self.all(kind) {
                    let force = if force { vec!["--force"] } else { Vec::new() };
                    self.can(&[&[kind, "rm"], force.as_slice(), &[&id]].concat());
                }
            }
        }));
    }
}

/// The engine of this machine, if its daemon answers.
pub(super) fn engine() -> Option<&'static PathBuf> {
    static ENGINE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = ENGINE.get_or_init(|| {
        let engine = match std::env::var_os("XTASK_ENGINE") {
            Some(chosen) => which::which(chosen).ok()?,
            None => ["docker", "podman"].iter().find_map(|name| which::which(name).ok())?,
        };
        let output = Command::new(&engine).arg("version").output().ok()?;
        output.status.success().then_some(engine)
    });
    if found.is_none() {
        xtask_client::harness::skipped("a container engine");
    }
    found.as_ref()
}
