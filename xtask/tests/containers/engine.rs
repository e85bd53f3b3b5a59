//! The engine as the tests ask it, and the removal of what they made.
//!
//! It judges nothing.

use std::path::Path;

use xshell::{Shell, cmd};
use xtask_test_support::{Fixture, ask, engine};

/// What a test makes in the engine: gone when this is dropped, however the test ends.
pub(crate) struct Made<'a> {
    fixture: &'a Fixture,
    engine: &'static Path,
    label: String,
}

/// A container that is no stack's; gone when this is dropped.
pub(crate) struct Stranger<'a> {
    made: &'a Made<'a>,
    pub(crate) id: String,
}

impl<'a> Made<'a> {
    /// For a test in this workspace; none, said aloud, if no engine answers.
    pub(crate) fn by(fixture: &'a Fixture) -> Option<Self> {
        let workspace = xtask_client::workspace_name(&fixture.root());
        Some(Self {
            fixture,
            engine: engine()?,
            label: format!("label=xtask.workspace={workspace}"),
        })
    }

    /// Makes a container of this image that is none of the workspace's, but carries the name of its
    /// stack, as an image of another user can.
    #[track_caller]
    pub(crate) fn stranger(&'a self, image: &str) -> Stranger<'a> {
        // It would have the labels of its image.
        let none = "--label=xtask.workspace=";
        let workspace = xtask_client::workspace_name(&self.fixture.root());
        let paths = xtask_client::StackPaths::at(self.fixture.state().join(workspace).join("dev"));
        let stack = format!("--label=xtask.stack={}", paths.short_name());
        let id = self.ask(&["create", "--pull=never", "--network=none", none, &stack, image]);
        Stranger { made: self, id }
    }

    /// Whether the engine is Docker, which Compose talks to.
    pub(crate) fn is_docker(&self) -> bool {
        self.engine.ends_with("docker")
    }

    /// What the engine prints for these arguments.
    #[track_caller]
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        ask(self.engine, args)
    }

    /// Whether the engine does what these arguments say.
    pub(crate) fn can(&self, args: &[&str]) -> bool {
        let (shell, engine) = (Shell::new().unwrap(), self.engine);
        cmd!(shell, "{engine} {args...}").quiet().ignore_stdout().ignore_stderr().run().is_ok()
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

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        self.made.can(&["rm", "--force", &self.id]);
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        // A stack that is up would start again what is removed, and use its network and images.
        self.fixture.take_down();
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
