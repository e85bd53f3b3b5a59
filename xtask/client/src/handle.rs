//! Typed handles to a running stack and its services, for tests.
//!
//! Every method sends a request, so a handle is never stale. It starts nothing: [`Stack::connect`]
//! fails if no supervisor runs.

use std::time::Duration;

use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::stack::Fault;
use xtask_core::terms::Name;

use crate::service_logs::Logs;
use xtask_control::connection::{Connection, Error, unexpected, update};
use xtask_control::paths::StackPaths;
use xtask_control::process_stat::ProcessStat;
use xtask_control::protocol::{Reply, Request};

/// The variable with the folder of the stack to connect to.
pub const STACK_VARIABLE: &str = "XTASK_STACK_DIR";

/// The timeout for a paused process to stop.
const PAUSE_TIME: Duration = Duration::from_secs(5);

/// The time between two checks of a paused process.
const PAUSE_POLL: Duration = Duration::from_millis(1);

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
    /// When no supervisor runs, or it does not answer.
    pub async fn connect(paths: StackPaths) -> Result<Self, Error> {
        let stack = Self { paths };
        stack.status().await?;
        Ok(stack)
    }

    /// The paths of the stack's files.
    pub fn paths(&self) -> &StackPaths {
        &self.paths
    }

    /// The state of the stack.
    ///
    /// # Errors
    /// When the supervisor has exited.
    pub async fn status(&self) -> Result<Snapshot, Error> {
        open(&self.paths).await?.status().await
    }

    /// A handle to a service. An unknown name is an error of the handle's methods.
    pub fn service(&self, name: &str) -> Service {
        Service { paths: self.paths.clone(), name: name.into() }
    }
}

impl Service {
    /// The state of the service.
    ///
    /// # Errors
    /// When the supervisor has exited, or the stack has no such service.
    pub async fn status(&self) -> Result<ServiceSnapshot, Error> {
        let snapshot = open(&self.paths).await?.status().await?;
        self.find(&snapshot).cloned()
    }

    /// The URL of its default port.
    ///
    /// # Errors
    /// When it has no port, or the port is not assigned yet.
    pub async fn url(&self) -> Result<String, Error> {
        let address = self.status().await?.url;
        address.ok_or_else(|| Error::NoAddress(self.name.to_string()))
    }

    /// Starts a new run and waits until it is ready.
    ///
    /// # Errors
    /// When it fails, or the supervisor has exited.
    pub async fn restart(&self) -> Result<(), Error> {
        let run = self.status().await?.run;
        self.request(Request::Restart { services: vec![self.name.clone()] }).await?;
        let service = self
            .wait_for(|service| {
                let is_new = service.run > run || service.phase == Phase::Failed;
                (is_new && !service.phase.is_on_the_way()) || has_failed_candidate(service)
            })
            .await?;
        if has_failed_candidate(&service) {
            return Err(Error::NotReady {
                service: self.name.to_string(),
                phase: service.phase.as_str(),
                reason: service.reason.unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// Kills its current run with SIGKILL, as a fault. The supervisor reacts as to a crash, but
    /// does not count the restart.
    ///
    /// # Errors
    /// When it is not running, or the supervisor has exited.
    pub async fn kill(&self) -> Result<(), Error> {
        self.fault(Fault::Kill).await
    }

    /// Pauses its current run with SIGSTOP, with every process of its group, until
    /// [`Service::resume`]. Like a hanging service it stays `ready`, and watchdog and start timeout
    /// keep running. A stop or restart resumes it first. On Linux this returns when the process has
    /// stopped.
    ///
    /// # Errors
    /// When it is not running, or the supervisor has exited.
    pub async fn pause(&self) -> Result<(), Error> {
        self.fault(Fault::Pause).await?;
        // A running thread stops some time after the signal.
        let wait = async {
            while self.status().await?.pid.is_some_and(|pid| !is_stopped(pid)) {
                tokio::time::sleep(PAUSE_POLL).await;
            }
            Ok(())
        };
        tokio::time::timeout(PAUSE_TIME, wait).await.unwrap_or(Ok(()))
    }

    /// Resumes a paused run.
    ///
    /// # Errors
    /// When it is not running, or the supervisor has exited.
    pub async fn resume(&self) -> Result<(), Error> {
        self.fault(Fault::Resume).await
    }

    /// Waits until the service is ready, or the job has succeeded. The only timeout is the
    /// service's own start timeout.
    ///
    /// # Errors
    /// When it failed or was stopped, or the supervisor has exited.
    pub async fn wait_ready(&self) -> Result<ServiceSnapshot, Error> {
        self.wait_for(|service| !service.phase.is_on_the_way()).await
    }

    /// Like [`Service::wait_ready`] for a run later than `run`, such as the one after
    /// [`Service::kill`].
    pub async fn wait_ready_after(&self, run: u64) -> Result<ServiceSnapshot, Error> {
        self.wait_for(|service| service.run > run && !service.phase.is_on_the_way()).await
    }

    /// The log of all its runs.
    pub fn logs(&self) -> Logs {
        Logs::of(self.paths.log(&self.name))
    }

    async fn fault(&self, fault: Fault) -> Result<(), Error> {
        self.request(Request::Fault { service: self.name.clone(), fault }).await
    }

    async fn request(&self, request: Request) -> Result<(), Error> {
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
        let mut snapshot = connection.snapshot(Request::Watch).await?;
        loop {
            let service = self.find(&snapshot)?;
            if done(service) {
                return match service.phase {
                    Phase::Failed | Phase::Stopped => Err(Error::NotReady {
                        service: self.name.to_string(),
                        phase: service.phase.as_str(),
                        reason: service.reason.as_deref().unwrap_or("no reason given").to_owned(),
                    }),
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
}

/// Whether its last new run failed, and the previous one continues.
fn has_failed_candidate(service: &ServiceSnapshot) -> bool {
    service.candidate.as_ref().is_some_and(|run| run.phase == Phase::Failed)
}

/// Whether every thread of a process is stopped; true on systems without `/proc`.
fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads
        .flatten()
        .all(|thread| ProcessStat::in_folder(&thread.path()).is_none_or(|stat| stat.is_stopped()))
}

async fn open(paths: &StackPaths) -> Result<Connection, Error> {
    Connection::open(paths).await?.ok_or_else(|| Error::NothingRuns(paths.stack()))
}
