//! The one build of all programs, before any of them is started.

use xtask_core::plan::Plan;
use xtask_core::terms::Name;

use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::cli::up::build::{Build, BuildEvent};

/// A program, and the services that run it.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    pub(super) services: Vec<Name>,
    pub(super) path: String,
}

/// Builds every program of the plan; the exit code if that fails, or somebody ends it.
///
/// # Errors
/// When cargo cannot be started or understood.
pub(super) async fn all(
    plan: &Plan,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Result<Vec<Linked>, Exit>> {
    let mut build = Build::start(plan, false)?;
    let mut programs = Vec::new();
    loop {
        let event = match build.next_unless(interrupts).await? {
            Ok(event) => event,
            Err(exit) => return Ok(Err(exit)),
        };
        match event {
            BuildEvent::Linked { services, path, .. } => programs.push(Linked { services, path }),
            BuildEvent::Missing { .. } => {}
            BuildEvent::Ended { ok: true } => return Ok(Ok(programs)),
            BuildEvent::Ended { ok: false } => return Ok(Err(Exit::BUILD)),
        }
    }
}
