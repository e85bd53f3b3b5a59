//! The commands under "More" of `--help`, in the order in which it lists them.
//!
//! Every program lists all of them. A program builds and executes another one when a user types the
//! name of a command that only that one has.

/// A program of the tool. Each has the commands of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The commands of every day. A first `up` builds it with the services.
    Daily,
    /// The commands that run tests. They need no further libraries.
    Testing,
    /// All commands, and the libraries of the rare ones.
    All,
}

impl Program {
    /// The name of the program, and of its package.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "xtask",
            Self::Testing => "xtask-testing",
            Self::All => "cargo-services",
        }
    }
}

/// A command that is not compiled into every program, or that `--help` lists under "More".
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// What the user types.
    pub name: &'static str,
    /// One line, without a full stop.
    pub about: &'static str,
    /// The first program that has it.
    pub program: Program,
}

const fn daily(name: &'static str, about: &'static str) -> Listed {
    Listed { name, about, program: Program::Daily }
}

const fn testing(name: &'static str, about: &'static str) -> Listed {
    Listed { name, about, program: Program::Testing }
}

const fn rare(name: &'static str, about: &'static str) -> Listed {
    Listed { name, about, program: Program::All }
}

/// The process of `up --watch`, which no user types and `--help` does not list.
pub const WATCHER: Listed = rare("watcher", "Follow edits of the sources; internal");

/// `--help` lists it among the commands of every day.
pub const TEST_E2E: Listed = testing("test-e2e", "Run the end-to-end tests on an isolated stack");

/// The commands that a program lacks.
pub(super) fn lacked_by(own: Program) -> impl Iterator<Item = &'static Listed> {
    [&TEST_E2E, &WATCHER].into_iter().chain(&LISTED).filter(move |listed| listed.program > own)
}

/// All that `--help` lists.
pub const LISTED: [Listed; 21] = [
    daily("wait", "Wait until services are ready"),
    rare("graph", "Draw the graph of services (text, mermaid, dot, svg, json)"),
    daily("env", "Print the variables of a service for a shell, to start it by hand"),
    rare("check", "Check the metadata of all services; `--fix` repairs cycles"),
    rare("new", "Add a package with a service that `up` runs at once"),
    rare("init", "Propose metadata for the programs of this workspace"),
    rare("import", "Propose metadata from a Procfile, a compose file or a dependencies.ini"),
    rare("run", "Run a command with the variables of a service"),
    rare("completions", "Print a script that completes commands in bash, zsh or fish"),
    rare("schema", "Print the JSON schema of the metadata, for editors"),
    rare("mcp", "Serve the Model Context Protocol, for agents and editors"),
    rare("doctor", "Check what the tool needs on this machine"),
    rare("timings", "Show how long the parts of the last start took, as a page or as JSON"),
    rare("image", "Build container images of the workspace's programs"),
    rare("export", "Export the services for Compose, Swarm or Kubernetes"),
    testing("test", "Run the end-to-end tests, then the workspace's tests"),
    rare("verify-deps", "Test whether services declare exactly what they need"),
    testing("ci", "Run the checks and tests of continuous integration"),
    rare("replay", "Replay a stack that `up --record FILE` recorded, and compare its effects"),
    rare("install", "Install the tool in a workspace, for everyone who clones it"),
    rare("uninstall", "Remove an installed tool from a workspace"),
];
