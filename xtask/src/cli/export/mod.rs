//! `export`: writes the services as files for Compose, Swarm or Kubernetes.
//!
//! It builds the images as `image` does, so that the files can be applied at once. It applies
//! nothing.

mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::Serialize;
use xtask_core::plan::{Containers, Isolation, Request};
use xtask_core::terms::Name;

use xtask::cli::error::Failure;
use xtask::cli::load::{self, Loaded};
use xtask::cli::plan_args::{PlanArgs, ProgramArgs};
use xtask::cli::{Exit, Global, block_on, print};
use xtask::effects::containers::{DATA_FOLDER, PROGRAM_FOLDER, USER};
use xtask::view::style::{GOOD, WARN};

use crate::cli::image::images;
use crate::view::export::{Difference, Images, Target, export};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The engine that reads the files
    target: Target,
    /// Export these services and their dependencies [default: the workspace's default services]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Write the files into this folder [default: print the document]
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Name the images PREFIX/SERVICE, as a registry does [default: localhost/WORKSPACE]
    #[arg(long, value_name = "PREFIX")]
    image_prefix: Option<String>,
    /// Print the written files and the differences as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    programs: ProgramArgs,
}

/// The output of `export --json`.
#[derive(Serialize)]
struct Written {
    /// The files in the output folder; none without `--output`.
    files: Vec<PathBuf>,
    /// The document; null with `--output`.
    document: Option<String>,
    images: BTreeMap<Name, String>,
    /// What the engine cannot express.
    differences: Vec<Difference>,
}

impl ValueEnum for Target {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Compose, Self::Swarm, Self::Kubernetes]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Compose => ("compose", "A file for Docker Compose: one machine"),
            Self::Swarm => ("swarm", "A stack file for Docker Swarm: several machines"),
            Self::Kubernetes => ("kubernetes", "Objects for Kubernetes"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

pub(crate) fn run(global: &Global, args: &ExportArgs) -> anyhow::Result<Exit> {
    let shape = |request: &mut Request| {
        request.isolation = Isolation::Elsewhere;
        request.containers = Containers::All;
        request.data = DATA_FOLDER.to_owned();
        args.plan.shape(request);
        args.programs.shape(request);
    };
    let loaded = load::plan(global, &args.services, shape)?;
    block_on(written(args, &loaded))
}

async fn written(args: &ExportArgs, loaded: &Loaded) -> anyhow::Result<Exit> {
    let rows = images(loaded, &args.programs, "export", |_| true).await?;
    let references: BTreeMap<Name, String> =
        rows.into_iter().map(|row| (row.service, renamed(args, row.image))).collect();
    let images = Images { references, program_folder: PROGRAM_FOLDER, user: USER };
    let export = export(&loaded.plan, &images, args.target);
    let images = images.references;
    for Difference { service, what } in &export.differences {
        print::progress(WARN, "Differs", &format!("{service}: {what}"));
    }
    let differences = export.differences;
    let (files, document) = match &args.output {
        Some(folder) => (files::write(folder, &export.files).map_err(Failure::from)?, None),
        // The first file is the document. Secrets are never printed.
        None => {
            if let Some(file) = export.files.iter().find(|file| file.access.is_secret()) {
                let text =
                    format!("`{}` contains secrets: only `--output FOLDER` writes it", file.path);
                print::progress(WARN, "Note", &text);
            }
            (Vec::new(), export.files.into_iter().next().map(|file| file.text))
        }
    };
    if args.json {
        print::json_pretty(&Written { files, document, images, differences })?;
        return Ok(Exit::DONE);
    }
    for file in &files {
        print::progress(GOOD, "Wrote", &file.display().to_string());
    }
    if let Some(document) = document {
        print::out(&document)?;
    }
    Ok(Exit::DONE)
}

fn renamed(args: &ExportArgs, image: String) -> String {
    match (&args.image_prefix, image.rsplit_once('/')) {
        (Some(prefix), Some((_, name))) => format!("{}/{name}", prefix.trim_end_matches('/')),
        (Some(_), None) | (None, _) => image,
    }
}
