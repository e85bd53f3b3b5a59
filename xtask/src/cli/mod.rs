//! The rare commands: one file or folder per command.
//!
//! `xtask/daily/src/cli/listed.rs` names each of them, because every program lists it.

mod check;
mod completions;
mod doctor;
mod export;
mod graph;
mod image;
mod import;
mod init;
mod install;
mod mcp;
mod new;
mod replay;
mod run;
mod schema;
mod timings;
mod verify_deps;
mod watcher;

use clap::Subcommand;
use xtask::cli::{Exit, Global, MoreCommands, Program};
use xtask_testing::Testing;

/// The commands that the program of every day lacks. Most are listed under "More" of `--help`, so
/// clap hides them.
#[derive(Debug, Subcommand)]
pub(crate) enum Rare {
    #[command(flatten)]
    Testing(Testing),
    /// Draw the graph of services
    ///
    /// Draws the workspace's default services and their dependencies as text.
    ///
    /// Example: `%xtask% graph --format svg > graph.svg`
    #[command(hide = true)]
    Graph(graph::GraphArgs),
    /// Check the metadata of all services
    ///
    /// Reports every problem under every overlay, and changes nothing.
    ///
    /// Example: `%xtask% check --fix`
    #[command(hide = true)]
    Check(check::CheckArgs),
    /// Build container images of the workspace's programs
    ///
    /// Builds an image for each service whose program cargo builds.
    ///
    /// Example: `%xtask% image --release`
    #[command(hide = true)]
    Image(image::ImageArgs),
    /// Export the services for Compose, Swarm or Kubernetes
    ///
    /// Builds the images and prints the document for the workspace's default services. It applies
    /// nothing.
    ///
    /// Example: `%xtask% export compose --output deploy`
    #[command(hide = true)]
    Export(export::ExportArgs),
    /// Add a package with a service that `up` runs at once
    ///
    /// Adds a small program with its metadata and a test. A template of the workspace replaces it:
    /// `[workspace.metadata.xtask] template = "FOLDER"`.
    ///
    /// Example: `%xtask% new mail --depends-on web`
    #[command(hide = true)]
    New(new::NewArgs),
    /// Propose metadata for the programs of this workspace
    ///
    /// Prints the proposal and what each value is based on. Changes nothing without `--yes`.
    ///
    /// Example: `%xtask% init --yes`
    #[command(hide = true)]
    Init(init::InitArgs),
    /// Propose metadata from a Procfile, a compose file or a `dependencies.ini`
    ///
    /// Prints the proposal and what does not carry over. Changes nothing without `--yes`.
    ///
    /// Example: `%xtask% import compose.yaml`
    #[command(hide = true)]
    Import(import::ImportArgs),
    /// Run a command with the variables of a service
    ///
    /// Executes it in the folder of the service, without a shell, with the real values.
    ///
    /// Example: `%xtask% run web -- psql`
    #[command(hide = true)]
    Run(run::RunArgs),
    /// Print a script that completes commands in a shell
    ///
    /// The script completes the program `cargo-services`, and in bash also the words after `cargo`.
    ///
    /// Example: `source <(%xtask% completions bash)`
    #[command(hide = true)]
    Completions(completions::CompletionsArgs),
    /// Print the JSON schema of the metadata, for editors
    ///
    /// The schema describes a whole Cargo.toml and accepts everything else in it.
    ///
    /// Example: `%xtask% schema > metadata.schema.json`
    #[command(hide = true)]
    Schema,
    /// Serve the Model Context Protocol on standard input and output, for agents and editors
    ///
    /// Each call of a client executes a command of this program. It ends when standard input ends.
    ///
    /// Example: `{ "command": "cargo", "args": ["xtask", "mcp"] }`
    #[command(hide = true)]
    Mcp,
    /// Check what the tool needs on this machine
    ///
    /// Prints each check, what needs it, and what mends it. Fails only if `up` cannot work.
    ///
    /// Example: `%xtask% doctor --json`
    #[command(hide = true)]
    Doctor(doctor::DoctorArgs),
    /// Show how long the parts of the last start took
    ///
    /// Writes an HTML page about the last start of the stack and prints its address.
    ///
    /// Example: `%xtask% timings --json`
    #[command(hide = true)]
    Timings(timings::TimingsArgs),
    /// Test whether services declare exactly what they need
    ///
    /// Starts each service with its declared dependencies, then without each of them, on isolated
    /// stacks.
    ///
    /// Example: `%xtask% verify-deps web`
    #[command(hide = true)]
    VerifyDeps(verify_deps::VerifyDepsArgs),
    /// Replay a recorded stack and compare its effects
    ///
    /// Prints each event and its effects, and stops at the first difference.
    ///
    /// Example: `%xtask% replay run.record`
    #[command(hide = true)]
    Replay(replay::ReplayArgs),
    /// Install the tool in a workspace, for everyone who clones it
    ///
    /// Adds the tool as a workspace of its own in `xtask/tool`, a member that builds and executes
    /// it, and the alias `xtask`. Nothing that the workspace builds or locks changes. A newer
    /// program updates the tool.
    ///
    /// Example: `%xtask% install`
    #[command(hide = true)]
    Install(install::InstallArgs),
    /// Remove an installed tool from a workspace
    ///
    /// Restores `Cargo.toml`, `Cargo.lock` and `.cargo/config.toml`, and deletes `xtask`.
    ///
    /// Example: `%xtask% uninstall`
    #[command(hide = true)]
    Uninstall(install::UninstallArgs),
    /// Follow edits of the sources; internal
    #[command(hide = true)]
    Watcher(watcher::WatcherArgs),
}

impl MoreCommands for Rare {
    const PROGRAM: Program = Program::All;

    fn run(self, global: &Global) -> anyhow::Result<Exit> {
        match self {
            Self::Testing(command) => command.run(global),
            Self::Graph(args) => graph::run(global, &args),
            Self::Check(args) => check::run(global, &args),
            Self::Image(args) => image::run(global, &args),
            Self::Export(args) => export::run(global, &args),
            Self::New(args) => new::run(global, &args),
            Self::Init(args) => init::run(global, &args),
            Self::Import(args) => import::run(global, &args),
            Self::Run(args) => run::run(global, &args),
            Self::Completions(args) => completions::run(&args),
            Self::Schema => schema::run(),
            Self::Mcp => mcp::run(global),
            Self::Doctor(args) => doctor::run(global, &args),
            Self::VerifyDeps(args) => verify_deps::run(global, &args),
            Self::Timings(args) => timings::run(global, &args),
            Self::Replay(args) => replay::run(&args),
            Self::Install(args) => install::install(global, &args),
            Self::Uninstall(args) => install::uninstall(global, &args),
            Self::Watcher(args) => watcher::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use xtask::cli::{LISTED, TEST_E2E, WATCHER};

    use super::*;

    #[test]
    fn help_lists_every_further_command() {
        let tree = Rare::augment_subcommands(clap::Command::new("rare"));
        tree.clone().debug_assert();
        let declared: BTreeSet<&str> =
            tree.get_subcommands().map(clap::Command::get_name).collect();
        let more = LISTED.iter().filter(|listed| listed.program > Program::Daily);
        let more = more.chain([&TEST_E2E, &WATCHER]);
        assert_eq!(declared, more.map(|listed| listed.name).collect());
        let shown = tree.get_subcommands().filter(|command| !command.is_hide_set());
        let shown: Vec<_> = shown.map(clap::Command::get_name).collect();
        assert_eq!(shown, [TEST_E2E.name]);
    }
}
