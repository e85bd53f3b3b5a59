//! The commands under "More" of `--help`, in the order in which it lists them.
//!
//! Both programs list all of them. A rare one is compiled only into `cargo-services`; the program
//! `xtask` builds and executes that when a user types the name.

/// A command that `--help` lists under "More".
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// What the user types.
    pub name: &'static str,
    /// One line, without a full stop.
    pub about: &'static str,
    /// Whether only the program `cargo-services` has it.
    pub rare: bool,
}

const fn daily(name: &'static str, about: &'static str) -> Listed {
    Listed { name, about, rare: false }
}

const fn rare(name: &'static str, about: &'static str) -> Listed {
    Listed { name, about, rare: true }
}

/// The process of `up --watch`, which no user types and `--help` does not list.
pub const WATCHER: Listed = rare("watcher", "Follow edits of the sources; internal");

/// The commands that only the program `cargo-services` has.
pub(super) fn rare_commands() -> impl Iterator<Item = &'static Listed> {
    LISTED.iter().filter(|listed| listed.rare).chain([&WATCHER])
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
    daily("test", "Run the end-to-end tests, then the workspace's tests"),
    rare("verify-deps", "Test whether services declare exactly what they need"),
    daily("ci", "Run the checks and tests of continuous integration"),
    rare("replay", "Replay a stack that `up --record FILE` recorded, and compare its effects"),
    rare("install", "Install the tool in a workspace, for everyone who clones it"),
    rare("uninstall", "Remove an installed tool from a workspace"),
];
