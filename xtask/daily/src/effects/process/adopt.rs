//! Inspects and adopts processes that this supervisor did not spawn.
//!
//! An inspection compares the program, arguments, environment and age of a port holder with those
//! of the service. It reports facts; the reducer decides whether to adopt or replace the port
//! holder. The pidfd that the lookup opened is kept, so that a later signal reaches this very
//! process. An adopted process is signalled through its pidfd only, and keeps running when the run
//! is dropped. Its exit status is unknown, because only its parent receives that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use xtask_core::sorted::SortedMap;

use tokio::task::JoinSet;
use xtask_core::plan::Port;
use xtask_core::stack::effect::{ExpectedProgram, PreparedProbe};
use xtask_core::stack::event::{InspectedHolder, InspectionResult, StartedBy};
use xtask_core::stack::{Command, Event, Exit, Run};
use xtask_core::terms::Name;

use crate::effects::World;
use crate::effects::active_run::{ActiveRun, Process};
use crate::effects::error::Error;
use crate::effects::process::launch::find_program;
use crate::effects::programs::have_same_content;
use crate::system::mark::{Mark, Marks, mark_of};
use crate::system::pidfd::ExitWatch;
use crate::system::port_holder::{HolderHandle, Lookup, describe, look_up};
use crate::system::task;
use crate::system::{pidfd, proc, socket};

impl World {
    pub(crate) fn inspect_holder(
        &mut self,
        service: Name,
        ports: &[Port],
        expected: Option<ExpectedProgram>,
    ) {
        let resolve = |port: &Port| socket::resolve(&port.host, port.number?).ok();
        let (program, variables) = match expected {
            Some(ExpectedProgram { program, path, context, cwd, variables }) => {
                let own = path.as_deref().map(std::ffi::OsStr::new);
                let path = own.or_else(|| self.contexts.of(context).variable("PATH"));
                let found = find_program(&program, path, &cwd).ok();
                (found.map(|found| Path::new(&cwd).join(found)), variables)
            }
            None => (None, Vec::new()),
        };
        let inspection = Inspection {
            addresses: ports.iter().filter_map(resolve).collect(),
            program,
            variables,
            marks: self.settings.marks.clone(),
        };
        let (events, holder_handles) = (self.events.clone(), self.holder_handles.clone());
        task::spawn_blocking(move || {
            let (result, found) = inspection.run();
            holder_handles.keep(&service, found);
            let _ = events.send(Event::HolderInspected { service, result });
        });
    }

    pub(crate) fn adopt(
        &mut self,
        service: Name,
        run: Run,
        pid: u32,
        command: &Command,
        probes: Vec<PreparedProbe>,
    ) {
        let events = self.events(&service, run);
        let found = self.holder_handles.take(&service, pid);
        let watching = found.and_then(|found| {
            let exit = ExitWatch::of(found.pidfd.try_clone().ok()?).ok()?;
            Some((found.pidfd, exit))
        });
        let Some((pidfd, exit)) = watching else {
            return events.start_failed(Error::AdoptEnded(pid));
        };
        let mut active = ActiveRun::not_spawned(Process::Unmanaged);
        let (adopted_probes, run_events) = (active.probes.clone(), events.clone());
        let mut watch = JoinSet::new();
        watch.spawn(task::boxed(async move {
            exit.exited().await;
            adopted_probes.stop();
            run_events.exited(Exit::Unknown, None);
            run_events.gone();
        }));
        active.process = Process::Adopted { pidfd, _watch: watch };
        events.started(pid);
        self.start_probes(&active, &events, command, probes);
        self.runs.insert((service, run), active);
    }
}

/// The port holders that the last inspection of each service found.
#[derive(Clone, Debug, Default)]
pub(crate) struct HolderHandles(Arc<Mutex<SortedMap<Name, HolderHandle>>>);

impl HolderHandles {
    fn keep(&self, service: &Name, found: Option<HolderHandle>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(holder) => drop(all.insert(service.clone(), holder)),
            None => drop(all.remove(service)),
        }
    }

    /// The port holder with this pid, if the last inspection found it and it is running.
    fn take(&self, service: &Name, pid: u32) -> Option<HolderHandle> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holder = all.remove(service)?;
        let is_same = holder.pid.unsigned_abs() == pid && !pidfd::has_ended(&holder.pidfd);
        is_same.then_some(holder)
    }
}

fn descends_from_this_process(pid: i32) -> bool {
    proc::ancestry(pid).contains(&std::process::id().cast_signed())
}

/// What to inspect, and what to compare it with.
struct Inspection {
    addresses: Vec<SocketAddr>,
    /// The program that the service would execute.
    program: Option<PathBuf>,
    variables: Vec<String>,
    marks: Marks,
}

impl Inspection {
    /// Finds and describes the port holder. It may read two whole programs.
    fn run(&self) -> (InspectionResult, Option<HolderHandle>) {
        match look_up(&self.addresses, |holder| self.describe(holder)) {
            Lookup::Free => (InspectionResult::Free, None),
            Lookup::Hidden => (InspectionResult::Hidden, None),
            Lookup::Found(holder, found) => {
                (InspectionResult::Process(Box::new(found)), Some(holder))
            }
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
        let started_by = match mark_of(pid) {
            // What a run left is a child of this process, also if it changed its user.
            _ if descends_from_this_process(pid) && !has_other_supervisor => StartedBy::ThisStack,
            // Another user can set any mark.
            _ if !proc::is_own(pid) => StartedBy::OtherUser,
            mark if mark.is_stack(self.marks.stack()) && !has_other_supervisor => {
                StartedBy::ThisStack
            }
            Mark::Absent | Mark::Unreadable => StartedBy::Hand,
            Mark::Value(_) => StartedBy::OtherStack,
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
