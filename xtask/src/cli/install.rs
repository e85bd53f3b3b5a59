//! `install` and `uninstall`: the tool in a workspace of its own inside of another workspace.
//!
//! `xtask-install` has the files and the edits. The commands report, and check for running stacks.

use std::path::{Path, PathBuf};

use clap::Args;
use xtask::cli::error::Failure;
use xtask::cli::{Exit, Global, print};
use xtask::view::style::{GOOD, WARN};
use xtask_control::StackPaths;
use xtask_control::paths::{DEFAULT_STACK, stacks_in};
use xtask_install::{Error, Host, Installed, TOOL};

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The workspace [default: that of the current folder]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Replace installed files that were edited
    #[arg(long)]
    discard_edits: bool,
}

pub(crate) fn install(global: &Global, args: &InstallArgs) -> anyhow::Result<Exit> {
    let host = host(global, args.path.as_deref())?;
    let installed = xtask_install::install(&host, args.discard_edits).map_err(failure)?;
    let place = host.root.join(TOOL);
    let verb = match installed {
        Installed::New => "Installed",
        Installed::Updated => "Updated",
        Installed::Same => "Unchanged",
    };
    let version = env!("CARGO_PKG_VERSION");
    print::progress(GOOD, verb, &format!("the tool, version {version}, in `{}`", place.display()));
    if installed == Installed::New {
        print::hint(
            "`cargo xtask check` builds it and checks the metadata; commit `Cargo.toml`, \
             `Cargo.lock`, `.cargo` and `xtask`",
        );
    }
    Ok(Exit::DONE)
}

#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// The workspace [default: that of the current folder]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Delete installed files that were edited
    #[arg(long)]
    discard_edits: bool,
}

pub(crate) fn uninstall(global: &Global, args: &UninstallArgs) -> anyhow::Result<Exit> {
    let host = host(global, args.path.as_deref())?;
    let dev = StackPaths::of(&host.root, DEFAULT_STACK)?;
    if let Some(running) = stacks_in(dev.workspace()).iter().find(|stack| stack.is_locked()) {
        let name = running.stack();
        let text = format!("stack `{name}` of this workspace is running");
        let hint = format!("`%xtask% down --stack {name}` stops it");
        return Err(Failure::new(Exit::FAILED, text).hint(hint).into());
    }
    let remaining = xtask_install::uninstall(&host, args.discard_edits).map_err(failure)?;
    print::progress(GOOD, "Removed", &format!("the tool from `{}`", host.root.display()));
    if !remaining.is_empty() {
        print::progress(
            WARN,
            "Kept",
            &format!("what is not of the tool: {}", remaining.join(", ")),
        );
    }
    Ok(Exit::DONE)
}

/// The workspace around the path of the command line, or around the current folder.
fn host(global: &Global, path: Option<&Path>) -> anyhow::Result<Host> {
    let manifest = global.manifest_path.as_deref().and_then(Path::parent);
    let folder = path.or(manifest).filter(|folder| !folder.as_os_str().is_empty());
    Ok(Host::around(folder.unwrap_or(Path::new("."))).map_err(failure)?)
}

fn failure(error: Error) -> Failure {
    let exit = match error {
        Error::File { .. } => Exit::FAILED,
        _ => Exit::USAGE,
    };
    let hint = error.hint();
    let failure = match error {
        Error::File { operation, ref path, source } => {
            let text = format!("failed to {operation} `{}`", path.display());
            Failure::new(exit, text).cause(source)
        }
        error => Failure::new(exit, error.to_string()),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
