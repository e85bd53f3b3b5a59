//! The application itself, brought up by the tool with files of its own: for tests of what a
//! stack that is up already cannot show, such as a change of where it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use xtask_client::StackPaths;
use xtask_client::harness::{cargo, workspace_of};

use crate::Api;

/// The application's stack with files of its own; it ends, and they go, when this is dropped.
#[derive(Debug)]
pub struct Application {
    root: PathBuf,
    state: tempfile::TempDir,
    stack: &'static str,
}

impl Application {
    /// One that is not up yet, on a stack of that name.
    ///
    /// # Panics
    /// When there is no workspace, or no folder can be made.
    #[must_use]
    pub fn new(stack: &'static str) -> Self {
        let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a workspace");
        Self { root, state: tempfile::tempdir().expect("a temporary folder"), stack }
    }

    /// Where the stack keeps its files.
    ///
    /// # Panics
    /// When the path of the temporary folder is of no use.
    #[must_use]
    pub fn paths(&self) -> StackPaths {
        let state = |name: &str| (name == "XTASK_STATE_DIR").then(|| self.state.path().into());
        StackPaths::with_environment(&self.root, self.stack, state).expect("an absolute path")
    }

    /// What the tool prints for these arguments.
    ///
    /// # Errors
    /// With its words, if it fails.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn run(&self, args: &[&str]) -> Result<String, String> {
        let mut command: Command = cargo(&self.root);
        command.env("XTASK_STATE_DIR", self.state.path()).arg("xtask").args(args);
        command.args(["--stack", self.stack]);
        if args.first() == Some(&"up") {
            // A test that is killed drops nothing.
            command.arg("--until-pid").arg(std::process::id().to_string());
        }
        let output = command.output().expect("cargo can be run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(printed).ok_or(said)
    }

    /// As [`Application::run`].
    ///
    /// # Panics
    /// With the tool's words, if it fails.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        self.run(args).unwrap_or_else(|said| panic!("{args:?}: {said}"))
    }

    /// What `status` says of a service.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.done(&["status", "--json"])).expect("JSON");
        let mut services = status["services"].as_array().expect("services").iter();
        services.find(|service| service["name"] == name).expect("a service of that name").clone()
    }

    /// A caller of a service.
    ///
    /// # Panics
    /// When it has no address.
    #[must_use]
    pub fn api(&self, name: &str) -> Api {
        Api::new(self.service(name)["url"].as_str().expect("an address"))
    }

    /// The lists of a person, asked of both services.
    ///
    /// # Panics
    /// When they do not answer.
    pub async fn lists(&self, user: &str) -> Value {
        self.api("users").get(&format!("/users/{user}/lists")).await.expect(200).json()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.run(&["down", "--data"]).ok();
    }
}
