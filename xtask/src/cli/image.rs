//! `image`: the images of services whose programs cargo builds.
//!
//! It runs no service. Images that are there with the same content are left alone.

use std::path::PathBuf;

use clap::Args;
use xtask_core::plan::{Containers, Plan, Program, Request, Service};
use xtask_core::terms::Placement;

use super::exit::Exit;
use super::interrupt::Interrupts;
use super::load::{self, Loaded};
use super::plan_args::{OverlayArgs, ProgramArgs};
use super::up::build::{Build, BuildEvent};
use super::up::target;
use super::{Global, block_on, print};
use crate::effects::containers::engine::Engine;
use crate::effects::containers::image::{self, Image, Made, Recipe};
use crate::view::image::{ImageRow, table};
use crate::view::style::{GOOD, WARN};

/// `image`
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The services [default: all whose program is built here]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// The images as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overlays: OverlayArgs,
    #[command(flatten)]
    programs: ProgramArgs,
}

pub(crate) fn run(global: &Global, args: &ImageArgs) -> anyhow::Result<Exit> {
    let shape = |request: &mut Request| {
        args.programs.shape(request);
        request.containers = Containers::All;
    };
    let loaded = match load::plan(global, &args.overlays.clone().into(), &args.services, shape)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    block_on(shown(args, &loaded))
}

/// The engine, or the words that there is none.
///
/// # Errors
/// When it is there and cannot be asked.
pub(crate) async fn engine() -> anyhow::Result<Result<Engine, Exit>> {
    match Engine::answering().await {
        Ok(engine) => Ok(Ok(engine)),
        Err(error) if error.is_absence() => {
            print::error_with_hint(&error.to_string(), error.hint().unwrap_or_default());
            Ok(Err(Exit::NO_ENGINE))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says that there is no engine for those services of a plan that run in containers: once,
/// and before anything is built.
///
/// # Errors
/// As for [`engine`].
pub(crate) async fn refuse_without_engine(plan: &Plan) -> anyhow::Result<Option<Exit>> {
    let mut placements = plan.services.iter().map(|service| service.placement);
    match placements.any(|placement| placement == Placement::Container) {
        true => Ok(engine().await?.err()),
        false => Ok(None),
    }
}

/// What the image of a service is made of, once its program is at `program`.
pub(crate) fn recipe(plan: &Plan, service: &Service, program: PathBuf) -> Recipe {
    Recipe {
        workspace: PathBuf::from(&plan.workspace),
        service: service.name.to_string(),
        program,
        base: plan.base_image.clone(),
        self_probe: service.self_probe.clone(),
    }
}

async fn shown(args: &ImageArgs, loaded: &Loaded) -> anyhow::Result<Exit> {
    // What a service depends on is built with it, but only what was named gets an image.
    let named = |service: &Service| {
        args.services.is_empty() || args.services.iter().any(|name| **name == *service.name)
    };
    let rows = match images(loaded, &args.programs, "image", named).await? {
        Ok(rows) => rows,
        Err(exit) => return Ok(exit),
    };
    if args.json {
        print::json_pretty(&rows)?;
    } else {
        print::out(&table(&rows))?;
    }
    Ok(Exit::DONE)
}

/// The images of those services of the plan whose program is built here and that are asked
/// for, in order of name; else the words why there are none. `command` is what the user
/// called.
///
/// # Errors
/// When cargo cannot be run, or the engine refuses.
pub(crate) async fn images(
    loaded: &Loaded,
    args: &ProgramArgs,
    command: &str,
    asked: impl Fn(&Service) -> bool,
) -> anyhow::Result<Result<Vec<ImageRow>, Exit>> {
    let plan = &loaded.plan;
    if let Some(exit) = target::refuse_shared(loaded, args.build.profile(), command) {
        return Ok(Err(exit));
    }
    let engine = match engine().await? {
        Ok(engine) => engine,
        Err(exit) => return Ok(Err(exit)),
    };
    let mut interrupts = Interrupts::new()?;
    let mut build = match args.no_build {
        true => {
            let target = &loaded.files.target_directory;
            Build::of_earlier_programs(plan, target, args.build.profile())
        }
        false => Build::start(plan, false)?,
    };
    let mut rows = Vec::new();
    loop {
        let event = match build.next_unless(&mut interrupts).await? {
            Ok(event) => event,
            Err(exit) => return Ok(Err(exit)),
        };
        match event {
            BuildEvent::Linked { services, path, .. } => {
                let named = services.iter().filter_map(|name| plan.service(name));
                for service in named.filter(|service| is_built(service) && asked(service)) {
                    let recipe = recipe(plan, service, PathBuf::from(&path));
                    let image = tokio::select! {
                        image = image::make(&engine, &recipe) => image?,
                        exit = interrupts.next() => {
                            build.stop().await;
                            return Ok(Err(exit));
                        }
                    };
                    tell(service, &image);
                    rows.push(row(service, image));
                }
            }
            BuildEvent::Missing { message, .. } => print::say(WARN, "Missing", &message),
            BuildEvent::Ended { ok: true } => break,
            BuildEvent::Ended { ok: false } => return Ok(Err(Exit::BUILD)),
        }
    }
    rows.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(Ok(rows))
}

/// Whether its program is built here and can run in a container.
fn is_built(service: &Service) -> bool {
    matches!(service.program, Program::Artifact { .. }) && service.placement == Placement::Container
}

fn tell(service: &Service, image: &Image) {
    if image.made == Made::Now {
        print::say(GOOD, "Made", &format!("the image of {}", service.name));
    }
    for note in &image.notes {
        print::say(WARN, "Note", &format!("image of {}: {note}", service.name));
    }
}

fn row(service: &Service, image: Image) -> ImageRow {
    ImageRow {
        service: service.name.clone(),
        image: image.reference,
        content: image.content,
        size_bytes: image.size_bytes,
        new: image.made == Made::Now,
        notes: image.notes,
    }
}
