//! Builds all programs once, before any of them starts.

use xtask_core::plan::Plan;
use xtask_core::terms::Name;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::cli::up::build::{Build, BuildEvent};

/// A program, and the services that run it.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    pub(super) services: Vec<Name>,
    pub(super) path: String,
}

/// Builds every program of the plan.
pub(super) async fn all(plan: &Plan, interrupts: &mut Interrupts) -> anyhow::Result<Vec<Linked>> {
    let mut build = Build::start(plan, false)?;
    let mut programs = Vec::new();
    loop {
        match build.next_unless(interrupts).await? {
            BuildEvent::Linked { services, path, .. } => programs.push(Linked { services, path }),
            BuildEvent::Missing { .. } => {}
            BuildEvent::Ended { ok: true } => return Ok(programs),
            BuildEvent::Ended { ok: false } => return Err(Error::Reported(Exit::BUILD).into()),
        }
    }
}
