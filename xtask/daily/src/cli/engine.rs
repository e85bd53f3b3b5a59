//! The container engine of a command, found before the command builds anything.

use xtask_core::plan::Plan;
use xtask_core::terms::Placement;

use super::error::Error;
use crate::effects::containers::engine::Engine;

/// The container engine that answers.
///
/// # Errors
/// [`Error::NoEngine`] if none is installed or answers.
pub async fn engine() -> anyhow::Result<Engine> {
    Engine::answering().await.map_err(|error| match error.is_absence() {
        true => Error::NoEngine(error).into(),
        false => error.into(),
    })
}

/// Fails before the build if services of the plan run in containers and no engine answers.
///
/// # Errors
/// Those of [`engine`].
pub async fn check_engine(plan: &Plan) -> anyhow::Result<()> {
    let mut placements = plan.services.iter().map(|service| service.placement);
    if placements.any(|placement| placement == Placement::Container) {
        engine().await?;
    }
    Ok(())
}
