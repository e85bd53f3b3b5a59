//! The state of a stack as data for views, `status --json` and tests.
//!
//! The reducer makes snapshots; they change nothing. As JSON they are what `status` writes: keys
//! may be added, so readers skip unknown keys. An added key has a default, so that a snapshot of
//! another version can be read.

use crate::sorted::SortedMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::calls::{Call, CallState, Called, Deadlock};
pub use crate::terms::Placement;
use crate::terms::{Kind, Name};

/// A stack at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name of the stack.
    pub stack: String,
    /// Absolute path of the workspace root.
    pub workspace: String,
    /// The version of the tool that the supervisor runs; `None` before it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolVersion>,
    /// Process id of the supervisor.
    pub supervisor_pid: u32,
    /// Process id of the guardian; `None` once it has died.
    pub guardian_pid: Option<u32>,
    /// The state of the whole stack.
    pub state: State,
    /// Whether it ends with a client, an `up` in the foreground.
    #[serde(default)]
    pub held: bool,
    /// The process that follows edits of the sources; none without `--watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// Its services, dependencies first.
    pub services: Vec<ServiceSnapshot>,
    /// The flags of `up` that the stack keeps, as a command line. Only in the output of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_flags: Option<String>,
    /// Services that wait for each other in a circle. Only in the answer to `status`.
    #[serde(default)]
    pub deadlocks: Vec<Deadlock>,
}

/// A version of the tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolVersion {
    /// As `--version` prints it.
    pub version: String,
    /// The version of its control protocol. Supervisors and clients with the same one understand
    /// each other completely.
    pub protocol: u32,
}

impl core::fmt::Display for ToolVersion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "version {} (protocol {})", self.version, self.protocol)
    }
}

impl Snapshot {
    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceSnapshot> {
        self.services.iter().find(|service| &*service.name == name)
    }

    /// The services that a service has called and that do not accept: because neither is ready, or
    /// because the called one is unhealthy.
    pub fn blocked_calling<'a>(
        &'a self,
        service: &'a ServiceSnapshot,
    ) -> impl Iterator<Item = &'a ServiceSnapshot> {
        let waiting = service.calls.iter().filter(|called| called.state == CallState::Waiting);
        waiting.filter_map(|called| self.service(&called.to)).filter(|called| match called.phase {
            Phase::Ready => false,
            Phase::Unhealthy => true,
            _ => service.phase != Phase::Ready,
        })
    }

    /// The first process of each run, with its service.
    pub fn runs(&self) -> impl Iterator<Item = (i32, Name)> + '_ {
        self.services.iter().flat_map(|service| {
            let pids = service.leaders().filter_map(|pid| i32::try_from(pid).ok());
            pids.map(|pid| (pid, service.name.clone()))
        })
    }

    /// The calls that the metadata of the caller does not declare, in order.
    #[must_use]
    pub fn undeclared_calls(&self) -> Vec<Call> {
        self.services.iter().flat_map(ServiceSnapshot::undeclared_calls).collect()
    }
}

/// The watcher of a stack: the process that follows edits of the sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Its process id.
    pub pid: u32,
    /// What it does now.
    pub state: WatchState,
    /// Why it polls instead of receiving file events, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polls: Option<String>,
}

/// What a watcher does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum WatchState {
    /// It waits for an edit; the last build succeeded.
    Idle,
    /// Cargo builds an edit.
    Building,
    /// Cargo waits for the lock of another build.
    Blocked,
    /// The last build failed, or the metadata has mistakes. What ran before still runs.
    Broken {
        /// The first error, one line.
        message: String,
    },
}

/// The state of a stack as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A wanted service is neither ready nor given up, or its run must still be compared with a
    /// program that is being built.
    Working,
    /// Every wanted service is ready or succeeded.
    Ready,
    /// No service is in progress, none failed, and a wanted one exited by itself with status 0.
    Stopped,
    /// No service is in progress, and a wanted one failed or is unhealthy.
    Failed,
    /// The stack is shutting down.
    Stopping,
}

/// A service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    /// Its name, unique in the stack.
    pub name: Name,
    /// Service or job.
    pub kind: Kind,
    /// Process or container.
    #[serde(default)]
    pub placement: Placement,
    /// Its phase at that moment.
    pub phase: Phase,
    /// Whether it should run.
    pub wanted: bool,
    /// Why it is in this phase, in one line.
    pub reason: Option<String>,
    /// The kind of failure in phase `failed`, or why a run keeps its previous ports.
    pub failure: Option<Failure>,
    /// Whether its run may still be replaced: it is being compared with a new plan or program.
    #[serde(default)]
    pub unsettled: bool,
    /// What its start waits for now: `api (starting)`.
    pub waiting_on: Vec<String>,
    /// Process id of its run, while it has one.
    pub pid: Option<u32>,
    /// The new run during a handover, before it replaces the run of the service. A candidate that
    /// failed is kept until the next plan or request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<RunSnapshot>,
    /// A run that stops beside the run of the service: the one that it replaced, or a candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<RunSnapshot>,
    /// Whether its process was not started here and gets no signal.
    #[serde(default)]
    pub adopted: bool,
    /// The number of its last run, 0 before the first.
    pub run: u64,
    /// Whether its last run had a process. False for example if its program is missing.
    #[serde(default)]
    pub started: bool,
    /// Its default address.
    pub url: Option<String>,
    /// The address of its page for a browser, if the metadata names one with `open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
    /// Its ports by name, once known.
    pub ports: SortedMap<String, u16>,
    /// From the start of the run to ready (for a job: to its end), in milliseconds.
    pub ready_ms: Option<u64>,
    /// From the start of the stack to ready, in milliseconds.
    pub ready_at_ms: Option<u64>,
    /// The number of automatic restarts.
    pub restarts: u32,
    /// The last result of each probe.
    pub seen: Vec<String>,
    /// How many callers wait on its ports until it accepts. Only in the answer to `status`, and
    /// only for a service that is not ready.
    pub callers_waiting: Option<u32>,
    /// The services to which it has open connections. Only in the answer to `status`.
    #[serde(default)]
    pub calls: Vec<Called>,
    /// Where its run listens, if it does not listen on all of its ports. Only in the answer to
    /// `status`, and after its `start-timeout`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listens_elsewhere: Vec<String>,
    /// Other programs that callers of `localhost` may reach instead. Only in the answer to
    /// `status`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<String>,
    /// The program that it was started from, if cargo built it. Only in the answer to `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramFiles>,
    /// A source of its program that is newer than the program. Only in the output of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_source: Option<String>,
    /// How long its first process runs, in milliseconds. Only in the output of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// The memory that the processes of its run use, in bytes; shared memory counts in parts. Only
    /// in the output of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Whether its restart policy restarts it when it is killed.
    #[serde(default)]
    pub comes_back: bool,
    /// Whether a fault paused it: it may be `ready` without answering.
    #[serde(default)]
    pub paused: bool,
    /// Its last `STATUS=`.
    pub status: Option<String>,
    /// Why lines of its output are missing from its log, while they are.
    pub log_trouble: Option<String>,
    /// The services that its start waits for.
    pub depends_on: Vec<Name>,
    /// The services of which it only knows the address.
    pub uses: Vec<Name>,
}

/// A run beside the run of its service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSnapshot {
    /// The number of the run, from 1.
    pub run: u64,
    /// `starting` or `failed` for a candidate, and `stopping`.
    pub phase: Phase,
    /// Process id, while it has one.
    pub pid: Option<u32>,
    /// Why it failed or stops, in one line.
    pub reason: Option<String>,
    /// The kind of failure in phase `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl ServiceSnapshot {
    /// The processes of its runs.
    fn leaders(&self) -> impl Iterator<Item = u32> {
        let beside = [&self.candidate, &self.stopping].into_iter().flatten();
        self.pid.into_iter().chain(beside.filter_map(|run| run.pid))
    }

    fn undeclared_calls(&self) -> impl Iterator<Item = Call> {
        let declared = |name: &Name| self.depends_on.contains(name) || self.uses.contains(name);
        let foreign = move |called: &&Called| called.to != self.name && !declared(&called.to);
        self.calls.iter().filter(foreign).map(|called| Call {
            from: self.name.clone(),
            to: called.to.clone(),
            state: called.state,
        })
    }
}

/// The files of a program that cargo built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFiles {
    /// Cargo's path. A later build replaces the file.
    pub linked: String,
    /// The accepted copy, with the time at which cargo last linked this content.
    pub kept: String,
}

/// The phase of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Wanted, and a condition does not hold yet.
    Waiting,
    /// Wanted, and its program is not linked yet.
    Building,
    /// Its process runs and is not ready.
    Starting,
    /// All probes passed.
    Ready,
    /// It was ready, and its last health checks failed. In an answer to `status` also a service
    /// that did not answer the question of that command.
    Unhealthy,
    /// It ended, and is started again after a pause.
    Backoff,
    /// It received its stop signal, or its process group still has members.
    Stopping,
    /// It does not run, as wanted, or it exited by itself with status 0.
    Stopped,
    /// A job that exited with status 0.
    Succeeded,
    /// It does not start again without user action.
    Failed,
}

impl Phase {
    /// Whether another phase follows without user action.
    #[must_use]
    pub const fn is_on_the_way(self) -> bool {
        matches!(
            self,
            Self::Waiting | Self::Building | Self::Starting | Self::Backoff | Self::Stopping
        )
    }

    /// The phase as views and JSON show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Building => "building",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
            Self::Backoff => "backoff",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// The kind of a failure. Each has its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Its program could not be built.
    Build,
    /// Another program holds its port.
    Port,
    /// Another service of the stack holds its port.
    Sibling,
    /// The same program holds its port but cannot be adopted, because it is another build or has
    /// other settings.
    Unadopted,
    /// It failed to start, or ended before it was ready.
    Start,
    /// It was not ready in time.
    Timeout,
    /// It ended after it had been ready, and was not restarted or was restarted too often.
    Died,
    /// A dependency failed.
    Dependency,
}
