//! Typed handles to a running stack and its services, as tests hold them.
//!
//! A handle asks anew for every answer, so that it is never stale. It starts nothing:
//! [`Stack::connect`] fails where nothing runs.

use std::path::PathBuf;
use std::time::Duration;

use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::stack::Fault;
use xtask_core::terms::Name;

use crate::connection::{Connection, Error, unexpected, update};
use crate::paths::StackPaths;
use crate::process_stat::ProcessStat;
use crate::protocol::{Reply, Request};
use crate::service_logs::Logs;

/// The variable that names the folder of the stack to attach to.
pub const STACK_VARIABLE: &str = "XTASK_STACK_DIR";

/// How long a process that was told to stand still may take to do so.
const PAUSE_TIME: Duration = Duration::from_secs(5);

/// How often it is looked whether it does.
const PAUSE_LOOK: Duration = Duration::from_millis(1);

/// A running stack.
#[derive(Clone, Debug)]
pub struct Stack {
    paths: StackPaths,
}

/// A service of a running stack.
#[derive(Clone, Debug)]
pub struct Service {
    paths: StackPaths,
    name: Name,
}

impl Stack {
    /// A handle to the stack with these paths.
    ///
    /// # Errors
    /// When nothing runs there, or it does not answer.
    pub async fn connect(paths: StackPaths) -> Result<Self, Error> {
        let stack = Self { paths };
        stack.status().await?;
        Ok(stack)
    }

    /// A handle to the stack with these paths, whether or not it runs.
    #[cfg(test)]
    pub(crate) fn at(paths: StackPaths) -> Self {
        Self { paths }
    }

    /// A handle to the stack whose folder the environment names as
    /// [`STACK_VARIABLE`]; none if it names none.
    ///
    /// # Errors
    /// As for [`Stack::connect`].
    pub async fn from_env() -> Result<Option<Self>, Error> {
        match std::env::var_os(STACK_VARIABLE) {
            Some(folder) if !folder.is_empty() => {
                Self::connect(StackPaths::at(PathBuf::from(folder))).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Where the stack keeps its files.
    #[must_use]
    pub fn paths(&self) -> &StackPaths {
        &self.paths
    }

    /// Its state.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub async fn status(&self) -> Result<Snapshot, Error> {
        open(&self.paths).await?.status().await
    }

    /// A service of it. Whether there is such a service shows when it is asked
    /// something.
    #[must_use]
    pub fn service(&self, name: &str) -> Service {
        Service { paths: self.paths.clone(), name: name.into() }
    }
}

impl Service {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its state.
    ///
    /// # Errors
    /// When the supervisor is gone or does not know it.
    pub async fn status(&self) -> Result<ServiceSnapshot, Error> {
        let snapshot = open(&self.paths).await?.status().await?;
        self.find(&snapshot).cloned()
    }

    /// Its default address.
    ///
    /// # Errors
    /// When it has none, or has not got it yet.
    pub async fn url(&self) -> Result<String, Error> {
        let address = self.status().await?.url;
        address.ok_or_else(|| Error::NoAddress { service: self.name.to_string() })
    }

    /// Starts a new run and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready, or the supervisor is gone.
    pub async fn restart(&self) -> Result<(), Error> {
        let run = self.status().await?.run;
        self.order(Request::Restart { services: vec![self.name.clone()] }).await?;
        self.wait_for(|service| {
            let is_new = service.run > run || service.phase == Phase::Failed;
            is_new && is_settled(service.phase)
        })
        .await
        .map(drop)
    }

    /// Kills its present run with SIGKILL, as a fault: what follows is what follows a
    /// crash, but that try is not counted.
    ///
    /// # Errors
    /// When it does not run, or the supervisor is gone.
    pub async fn kill(&self) -> Result<(), Error> {
        self.fault(Fault::Kill).await
    }

    /// Makes its present run stand still, with every process of its group, until
    /// [`Service::resume`]. It stays `ready`, as a service does that hangs: its watchdog,
    /// if it has one, bites, and its start timeout goes on. A stop or restart wakes it first.
    /// Returns when it stands still, where the system can tell.
    ///
    /// # Errors
    /// When it does not run, or the supervisor is gone.
    pub async fn pause(&self) -> Result<(), Error> {
        self.fault(Fault::Pause).await?;
        // The signal is sent, but a thread that runs stops only when it notices.
        let wait = async {
            while self.status().await?.pid.is_some_and(|pid| !stands_still(pid)) {
                tokio::time::sleep(PAUSE_LOOK).await;
            }
            Ok(())
        };
        tokio::time::timeout(PAUSE_TIME, wait).await.unwrap_or(Ok(()))
    }

    /// Lets a paused run go on.
    ///
    /// # Errors
    /// When it does not run, or the supervisor is gone.
    pub async fn resume(&self) -> Result<(), Error> {
        self.fault(Fault::Resume).await
    }

    /// Waits until it is ready, or a job has succeeded. There is no limit of time
    /// here beside the service's own start timeout.
    ///
    /// # Errors
    /// When it failed or was stopped, or the supervisor is gone.
    pub async fn wait_ready(&self) -> Result<ServiceSnapshot, Error> {
        self.wait_for(|service| is_settled(service.phase)).await
    }

    /// As [`Service::wait_ready`] for a run later than `run`: after [`Service::kill`],
    /// the one that replaces the killed one.
    ///
    /// # Errors
    /// As for [`Service::wait_ready`].
    pub async fn wait_ready_after(&self, run: u64) -> Result<ServiceSnapshot, Error> {
        self.wait_for(|service| service.run > run && is_settled(service.phase)).await
    }

    /// What it printed, in every run.
    #[must_use]
    pub fn logs(&self) -> Logs {
        Logs::of(self.paths.log(&self.name))
    }

    async fn fault(&self, fault: Fault) -> Result<(), Error> {
        self.order(Request::Fault { service: self.name.clone(), fault }).await
    }

    async fn order(&self, request: Request) -> Result<(), Error> {
        match open(&self.paths).await?.call(request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn wait_for(
        &self,
        done: impl Fn(&ServiceSnapshot) -> bool,
    ) -> Result<ServiceSnapshot, Error> {
        let mut connection = open(&self.paths).await?;
        let mut snapshot = match connection.call(Request::Watch).await? {
            Reply::Snapshot(snapshot) => snapshot,
            other => return Err(unexpected(&other)),
        };
        loop {
            let service = self.find(&snapshot)?;
            if done(service) {
                return match service.phase {
                    Phase::Failed | Phase::Stopped => Err(self.not_ready(service)),
                    _ => Ok(service.clone()),
                };
            }
            let answer = connection.next().await?.ok_or(Error::Gone)?;
            update(&mut snapshot, answer.reply);
        }
    }

    fn find<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a ServiceSnapshot, Error> {
        snapshot.service(&self.name).ok_or_else(|| Error::UnknownService {
            service: self.name.to_string(),
            stack: snapshot.stack.clone(),
        })
    }

    fn not_ready(&self, service: &ServiceSnapshot) -> Error {
        Error::NotReady {
            service: self.name.to_string(),
            phase: service.phase.as_str().to_string(),
            reason: service.reason.clone().unwrap_or_else(|| "no reason given".to_string()),
        }
    }
}

fn is_settled(phase: Phase) -> bool {
    match phase {
        Phase::Ready | Phase::Succeeded | Phase::Failed | Phase::Stopped => true,
        Phase::Waiting | Phase::Building | Phase::Starting | Phase::Backoff | Phase::Stopping => {
            false
        }
    }
}

/// Whether every thread of a process is stopped; true where the system does not say.
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    // A thread that ended in the meantime has no stat.
    let stopped = |stat: ProcessStat| stat.is_stopped();
    threads.flatten().all(|thread| ProcessStat::in_folder(&thread.path()).is_none_or(stopped))
}

async fn open(paths: &StackPaths) -> Result<Connection, Error> {
    Connection::open(paths).await?.ok_or_else(|| Error::NothingRuns { stack: paths.stack() })
}
