//! Inspects the process that holds a service's ports: its program, arguments, environment and age,
//! compared with those of the service.
//!
//! It reports facts; the reducer decides whether to adopt or replace the port holder. The pidfd
//! that the lookup opened is kept, so that a later signal reaches this very process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use xtask_core::stack::event::{InspectedHolder, InspectionResult, StartedBy};
use xtask_core::terms::Name;

use crate::effects::programs::have_same_content;
use crate::system::port_holder::{HolderHandle, Lookup, describe, look_up};
use crate::system::sweep::MARK;
use crate::system::{pidfd, proc};

/// The port holders that the last inspection of each service found.
#[derive(Clone, Debug, Default)]
pub(crate) struct HolderHandles(Arc<Mutex<BTreeMap<Name, HolderHandle>>>);

impl HolderHandles {
    /// Keeps the result of the last inspection.
    pub(crate) fn keep(&self, service: &Name, found: Option<HolderHandle>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(holder) => drop(all.insert(service.clone(), holder)),
            None => drop(all.remove(service)),
        }
    }

    /// The port holder with this pid, if the last inspection found it and it is running.
    pub(crate) fn take(&self, service: &Name, pid: u32) -> Option<HolderHandle> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holder = all.remove(service)?;
        let is_same = holder.pid.unsigned_abs() == pid && !pidfd::has_ended(&holder.pidfd);
        is_same.then_some(holder)
    }
}

/// What to inspect, and what to compare it with.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// The addresses of the service.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The program that the service would execute.
    pub(crate) program: Option<PathBuf>,
    /// The variables to report.
    pub(crate) variables: Vec<String>,
    /// The mark of this stack.
    pub(crate) mark: String,
}

impl Inspection {
    /// Finds and describes the port holder. It may read two whole programs.
    pub(crate) fn run(&self) -> (InspectionResult, Option<HolderHandle>) {
        match look_up(&self.addresses, |holder| self.describe(holder)) {
            Lookup::Free => (InspectionResult::Free, None),
            Lookup::Hidden => (InspectionResult::Hidden, None),
            Lookup::Found(holder, found) => (InspectionResult::Process(found), Some(holder)),
        }
    }

    fn describe(&self, port_holder: &HolderHandle) -> InspectedHolder {
        let pid = port_holder.pid;
        let environment = proc::environment(pid).map(Iterator::collect::<Vec<_>>);
        let value = |name: &str| {
            environment.as_ref()?.iter().find_map(|variable| proc::value_of(variable, name))
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let variables = self.variables.iter();
        let variables =
            variables.filter_map(|name| Some((name.clone(), text(value(name)?)))).collect();
        let holder = describe(pid);
        let has_content =
            |program: &Path| have_same_content(&proc::file(pid, "exe"), program).unwrap_or(false);
        // A stack whose state folder was deleted has the same mark as this one.
        let has_other_supervisor = (holder.stack.as_ref())
            .is_some_and(|stack| stack.supervisor != Some(std::process::id()));
        let started_by = match value(MARK) {
            None => StartedBy::Hand,
            Some(mark) if mark == self.mark.as_bytes() && !has_other_supervisor => {
                StartedBy::ThisStack
            }
            Some(_) => StartedBy::OtherStack,
        };
        InspectedHolder {
            holder,
            age: proc::age(pid).unwrap_or_default(),
            same: self.program.as_deref().is_some_and(has_content),
            deleted: proc::executable(pid).is_some_and(|executable| executable.deleted),
            args: proc::arguments(pid).into_iter().skip(1).collect(),
            variables: environment.is_some().then_some(variables),
            elsewhere: port_holder.not_held.clone(),
            started_by,
        }
    }
}
