//! `image`: builds images of the services whose programs cargo builds.
//!
//! It skips images that exist with the same content. It runs no service.

use std::path::PathBuf;

use clap::Args;
use xtask_core::plan::{Containers, Plan, Program, Request, Service};
use xtask_core::stack::LinkedProgram;
use xtask_core::terms::{Name, Placement};

use xtask::cli::engine::engine;
use xtask::cli::interrupt::Interrupts;
use xtask::cli::load::{self, Loaded};
use xtask::cli::plan_args::{OverlayArgs, ProgramArgs};
use xtask::cli::up::build::Build;
use xtask::cli::up::target;
use xtask::cli::{Exit, Global, block_on, print};
use xtask::effects::containers::engine::Engine;
use xtask::effects::containers::image::{Recipe, make};
use xtask::view::style::{GOOD, WARN};

use crate::view::image::{ImageRow, table};

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// Build images of these services [default: all whose program cargo builds]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Print the images as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overlays: OverlayArgs,
    #[command(flatten)]
    programs: ProgramArgs,
}

pub(crate) fn run(global: &Global, args: &ImageArgs) -> anyhow::Result<Exit> {
    let shape = |request: &mut Request| {
        args.overlays.shape(request);
        args.programs.shape(request);
        request.containers = Containers::All;
    };
    let loaded = load::plan(global, &args.services, shape)?;
    block_on(shown(args, &loaded))
}

async fn shown(args: &ImageArgs, loaded: &Loaded) -> anyhow::Result<Exit> {
    // Dependencies are built too, but only named services get an image.
    let named = |service: &Service| {
        args.services.is_empty() || args.services.iter().any(|name| **name == *service.name)
    };
    let rows = images(loaded, &args.programs, "image", named).await?;
    if args.json {
        print::json_pretty(&rows)?;
    } else {
        print::out(&table(&rows))?;
    }
    Ok(Exit::DONE)
}

/// Builds the images of the services that `selected` accepts and whose program cargo builds.
/// Returns them in order of name. `command` is the command that the user called.
pub(crate) async fn images(
    loaded: &Loaded,
    args: &ProgramArgs,
    command: &'static str,
    selected: impl Fn(&Service) -> bool,
) -> anyhow::Result<Vec<ImageRow>> {
    let plan = &loaded.plan;
    target::refuse_shared(loaded, args.build.profile(), command)?;
    let engine = engine().await?;
    let mut interrupts = Interrupts::new()?;
    let mut build = Build::of(loaded, args, false)?;
    let mut rows = Vec::new();
    let add = async |services: Vec<Name>, program: LinkedProgram| {
        let named = services.iter().filter_map(|name| plan.service(name));
        for service in named.filter(|service| is_built(service) && selected(service)) {
            rows.push(image(&engine, plan, service, &program).await?);
        }
        Ok(())
    };
    build.programs(&mut interrupts, add).await?;
    rows.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(rows)
}

/// Whether cargo builds its program and it can run in a container.
fn is_built(service: &Service) -> bool {
    matches!(service.program, Program::Artifact { .. }) && service.placement == Placement::Container
}

/// Builds the image of a service with this program, and reports what a user must know.
async fn image(
    engine: &Engine,
    plan: &Plan,
    service: &Service,
    program: &LinkedProgram,
) -> anyhow::Result<ImageRow> {
    let name = &service.name;
    let recipe = Recipe {
        workspace: PathBuf::from(&plan.workspace),
        service: name.to_string(),
        program: program.clone(),
        base: plan.base_image.clone(),
        self_probe: service.self_probe.clone(),
    };
    let image = make(engine, &recipe).await?;
    if image.is_new {
        print::progress(GOOD, "Built", &format!("image of {name}"));
    }
    for note in &image.notes {
        print::progress(WARN, "Note", &format!("image of {name}: {note}"));
    }
    Ok(ImageRow {
        service: name.clone(),
        image: image.reference,
        content: image.content,
        size_bytes: image.size_bytes,
        new: image.is_new,
        notes: image.notes,
    })
}
