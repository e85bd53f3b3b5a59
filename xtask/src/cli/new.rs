//! `new`: adds a package with a service or a job.

use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;

use xtask::cli::error::{Failure, meant_or};
use xtask::cli::place::current_folder;
use xtask::cli::stack::cargo;
use xtask::cli::{Exit, Global, print};
use xtask::view::style::GOOD;

use crate::setup::new::{Dependency, Error, Wanted, add};
use crate::setup::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The name of the package and of the service
    #[arg(value_name = "NAME")]
    name: String,
    /// Services that must be ready first
    #[arg(long, value_name = "SERVICES", value_delimiter = ',')]
    depends_on: Vec<String>,
    /// Make a job, which runs to completion
    #[arg(long)]
    job: bool,
}

pub(crate) fn run(global: &Global, args: &NewArgs) -> anyhow::Result<Exit> {
    let here = current_folder()?;
    let workspace = Workspace::read(&here, global.manifest_path.as_deref())?;
    let known: Vec<String> = workspace.services.keys().cloned().collect();
    if let Some(unknown) = args.depends_on.iter().find(|name| !known.contains(name)) {
        let hint = match known.is_empty() {
            true => "the workspace declares no service yet: leave out `--depends-on`".to_owned(),
            false => meant_or(unknown, &known, || format!("the services are {}", known.join(", "))),
        };
        let message = format!("`{unknown}` is not a service of this workspace");
        return Err(Failure::new(Exit::USAGE, message).hint(hint).into());
    }
    // Sorted, because the files of a template list them in this order.
    let mut depends_on: Vec<_> = args
        .depends_on
        .iter()
        .map(|name| Dependency {
            name: name.clone(),
            serves_http: workspace.services[name].serves_http,
        })
        .collect();
    depends_on.sort();
    depends_on.dedup();
    let added = add(
        &workspace.root,
        &Wanted {
            name: args.name.clone(),
            is_job: args.job,
            depends_on,
            port: workspace.free_port(),
            taken: [known, workspace.packages].concat(),
        },
    )
    .map_err(Error::failure)?;
    for file in &added.files {
        print::progress(GOOD, "Created", &file.display().to_string());
    }
    for file in &added.changed {
        print::progress(GOOD, "Changed", &file.display().to_string());
    }
    if added.from_template {
        format(&workspace.root, &args.name);
    }
    print::hint(&format!("start it: `%xtask% up {}`", args.name));
    Ok(Exit::DONE)
}

/// Formats the package, because the lengths of names move line breaks and the order of imports. A
/// toolchain without `rustfmt` leaves it as it is.
fn format(root: &Path, package: &str) {
    let arguments = ["fmt", "--package", package];
    Command::new(cargo()).args(arguments).current_dir(root).stderr(Stdio::null()).status().ok();
}
