//! `import`: proposes metadata from a Procfile, a compose file or a `dependencies.ini`.

use std::path::PathBuf;

use clap::Args;

use xtask::cli::place::current_folder;
use xtask::cli::{Exit, Global, print};
use xtask::view::style::WARN;
use xtask::view::words::quoted;

use super::init::finish;
use crate::setup::import::{Error, import};
use crate::setup::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file: a `Procfile`, a compose file or a `dependencies.ini`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the proposal into the manifests
    #[arg(long)]
    yes: bool,
    /// Print the proposal as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &ImportArgs) -> anyhow::Result<Exit> {
    let here = current_folder()?;
    let workspace = Workspace::read(&here, global.manifest_path.as_deref())?;
    let imported = import(&workspace.root, &here.join(&args.file), &workspace.programs)
        .map_err(Error::failure)?;
    for lost in &imported.not_carried {
        print::progress(WARN, "Not kept", lost);
    }
    let command = format!("import {}", quoted(&args.file.to_string_lossy()));
    finish(&workspace, &imported.proposals, args.yes, args.json, &command)
}
