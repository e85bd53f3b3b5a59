//! What a command needs of the machine, checked before it builds anything: the container engine and
//! the accounts of services.

use xtask_core::plan::Plan;
use xtask_core::terms::Placement;

use super::error::{Error, Failure};
use super::exit::Exit;
use crate::effects::containers::engine::Engine;
use crate::system::account::to_become;

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

/// Fails before the build if services of the plan run in containers and no engine answers, or as
/// an account that this caller cannot use.
///
/// # Errors
/// Those of [`engine`], and the reason why an account cannot be used.
pub async fn check_machine(plan: &Plan) -> anyhow::Result<()> {
    let processes = plan.services.iter().filter(|one| one.placement == Placement::Process);
    for (service, user) in processes.filter_map(|one| Some((&one.name, one.user.as_ref()?))) {
        if let Err(error) = to_become(user) {
            let message = format!("service `{service}` cannot run: {error}");
            return Err(Failure::new(Exit::USAGE, message).hint(error.hint()).into());
        }
    }
    let mut placements = plan.services.iter().map(|service| service.placement);
    if placements.any(|placement| placement == Placement::Container) {
        engine().await?;
    }
    Ok(())
}
