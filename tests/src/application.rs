//! The application in a separate stack, for tests that change how it runs, such as its placement.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use xtask_client::StackPaths;
use xtask_client::harness::{cargo, workspace_of};

use crate::Api;

/// A stack of the application with its own state folder. Dropping it stops the stack and deletes
/// its files.
#[derive(Debug)]
pub struct Application {
    root: PathBuf,
    state: tempfile::TempDir,
    stack: &'static str,
}

impl Application {
    /// The application under this stack name, not started yet.
    ///
    /// # Panics
    /// When cargo finds no workspace, or the folder cannot be created.
    #[must_use]
    pub fn new(stack: &'static str) -> Self {
        let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a workspace");
        Self { root, state: tempfile::tempdir().expect("a temporary folder"), stack }
    }

    /// The paths of the stack's files.
    ///
    /// # Panics
    /// When the temporary folder has no absolute path.
    #[must_use]
    pub fn paths(&self) -> StackPaths {
        let state = |name: &str| (name == "XTASK_STATE_DIR").then(|| self.state.path().into());
        StackPaths::with_environment(&self.root, self.stack, state).expect("an absolute path")
    }

    /// Runs the tool and returns its output.
    ///
    /// # Panics
    /// When cargo cannot be started.
    fn run(&self, args: &[&str]) -> Output {
        let mut command: Command = cargo(&self.root);
        command.env("XTASK_STATE_DIR", self.state.path()).arg("xtask").args(args);
        command.args(["--stack", self.stack]);
        if args.first() == Some(&"up") {
            // A killed test does not run `drop`.
            command.arg("--until-pid").arg(std::process::id().to_string());
        }
        command.output().expect("cargo starts")
    }

    /// Runs the tool and returns its standard output.
    ///
    /// # Panics
    /// When it fails; the message contains its standard error.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(args);
        assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8_lossy(&stdout).into_owned()
    }

    /// The service in the output of `status`.
    ///
    /// # Panics
    /// When the stack has no such service.
    #[must_use]
    pub fn service(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.done(&["status", "--json"])).expect("JSON");
        let mut services = status["services"].as_array().expect("services").iter();
        services.find(|service| service["name"] == name).expect("a service of that name").clone()
    }

    /// A client of a service.
    ///
    /// # Panics
    /// When the service has no address.
    #[must_use]
    pub fn api(&self, name: &str) -> Api {
        Api::new(self.service(name)["url"].as_str().expect("an address"))
    }

    /// The lists of a person, through both services.
    ///
    /// # Panics
    /// When a service does not answer.
    pub async fn lists(&self, user: &str) -> Value {
        self.api("users").get(&format!("/users/{user}/lists")).await.expect(200).json()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.run(&["down", "--data"]);
    }
}
