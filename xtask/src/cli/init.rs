//! `init`: proposes metadata for programs that declare none.

use std::collections::BTreeSet;

use clap::Args;

use xtask::cli::error::Failure;
use xtask::cli::place::current_folder;
use xtask::cli::{Exit, Global, print};
use xtask::view::style::{GOOD, WARN};

use crate::setup::init::propose;
use crate::setup::proposal::{self, Proposal};
use crate::setup::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Write the proposal into the manifests
    #[arg(long)]
    yes: bool,
    /// Print the proposal as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &InitArgs) -> anyhow::Result<Exit> {
    let here = current_folder()?;
    let workspace = Workspace::read(&here, global.manifest_path.as_deref())?;
    let outcome = propose(&workspace.root, &workspace.programs);
    for (program, reason) in &outcome.left_out {
        print::progress(WARN, "Left out", &format!("`{program}`: {reason}"));
    }
    for note in &outcome.notes {
        print::progress(WARN, "Note", note);
    }
    if outcome.proposals.is_empty() {
        print::line("no program without metadata looks like a service");
        print::hint(
            "declare one by hand: `[package.metadata.service]` in its Cargo.toml, with \
             `kind = \"job\"` for a program that ends",
        );
        return Ok(Exit::DONE);
    }
    finish(&workspace, &outcome.proposals, args.yes, args.json, "init")
}

/// Prints the proposals, or writes them with `yes`, and says what to type next. `command` is the
/// command with its arguments.
pub(super) fn finish(
    workspace: &Workspace,
    proposals: &[Proposal],
    yes: bool,
    json: bool,
    command: &str,
) -> anyhow::Result<Exit> {
    refuse_known(workspace, proposals)?;
    match json {
        true => print::json_pretty(&proposals)?,
        false => print::out(&proposal::render(proposals))?,
    }
    if !yes {
        print::hint(&format!("write this into the manifests: `%xtask% {command} --yes`"));
        return Ok(Exit::DONE);
    }
    for manifest in proposal::write(&workspace.root, proposals).map_err(proposal::Error::failure)? {
        print::progress(GOOD, "Changed", &manifest.display().to_string());
    }
    print::hint("look for mistakes, then start everything: `%xtask% check`, `%xtask% up`");
    Ok(Exit::DONE)
}

/// Refuses a service that is declared already, or twice: the manifests would be invalid.
fn refuse_known(workspace: &Workspace, proposals: &[Proposal]) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    for Proposal { name, .. } in proposals {
        let message = match (workspace.services.contains_key(name), names.insert(name)) {
            (true, _) => format!("the workspace declares a service `{name}` already"),
            (false, false) => format!("two of the proposed services are called `{name}`"),
            (false, true) => continue,
        };
        return Err(Failure::new(Exit::USAGE, message)
            .hint(format!("rename or remove one `{name}`: the metadata key is `name`")));
    }
    Ok(())
}
