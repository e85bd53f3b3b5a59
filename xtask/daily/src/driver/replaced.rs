//! Looks at the programs of new runs before the runs that they replace are stopped.

use std::path::Path;

use xtask_core::plan::{Plan, Program, Service};
use xtask_core::terms::{Kind, Name, Placement};

use super::Driver;
use super::requests::Refusal;
use crate::system::executable::fault_of;

impl Driver {
    /// Refuses a plan that would stop a run for a program that cannot be executed.
    ///
    /// Programs of cargo are built before anything stops. An absent file is accepted if the plan
    /// has a job, which may create it.
    pub(super) fn check_replacements(&self, plan: &Plan) -> Result<(), Refusal> {
        let has_job = plan.services.iter().any(|service| service.kind == Kind::Job);
        plan.services
            .iter()
            .filter(|service| self.would_replace(plan, service))
            .try_for_each(|service| self.check_program(service, plan.context, has_job))
    }

    /// Refuses a restart of services whose programs can no longer be executed.
    pub(super) fn check_restarts(&self, services: &[Name]) -> Result<(), Refusal> {
        let runs = services.iter().filter_map(|name| self.stack.started_as(name));
        runs.into_iter().try_for_each(|(run, context)| self.check_program(&run, context, false))
    }

    /// Whether a plan stops a run of this service and starts another one.
    fn would_replace(&self, plan: &Plan, service: &Service) -> bool {
        let present = self.stack.started_as(&service.name);
        present
            .is_some_and(|(present, _)| present != *service || plan.restart.contains(&service.name))
    }

    fn check_program(&self, service: &Service, context: u64, has_job: bool) -> Result<(), Refusal> {
        let Program::Command { program } = &service.program else { return Ok(()) };
        if service.placement != Placement::Process {
            return Ok(());
        }
        let name = program.value.to_string();
        let context = self.world.contexts.of(context);
        let own = service.env.get("PATH").map(|path| path.value.to_string().into());
        let path = own.or_else(|| context.variable("PATH").map(ToOwned::to_owned));
        match fault_of(&name, path.as_deref(), Path::new(&service.cwd)) {
            Some(fault) if !fault.absent || !has_job => {
                let service = service.name.clone();
                Err(Refusal::Program { service, program: name, fault })
            }
            Some(_) | None => Ok(()),
        }
    }
}
