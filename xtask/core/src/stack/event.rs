//! Everything that can happen to a stack. The list is closed.
//!
//! Every event about a process carries its service and run, so that one place drops the events
//! of past runs. Events are plain data: a recorded list of them can be replayed.

#![expect(missing_docs, reason = "the docs of a type cover fields that need no doc")]

use crate::sorted::SortedMap;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::calls::Call;
use crate::plan::Plan;
use crate::terms::Name;

/// The number of a run of one service, counted from 1 and never reused in a stack.
pub type Run = u64;

/// Something that happened. `service` is the service that it happened to, and `run` its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[expect(clippy::large_enum_variant, reason = "only one event exists at a time")]
pub enum Event {
    /// Bring up a plan. It replaces the specs of its services and leaves all others alone. A
    /// build begins: every `Artifact` program in it is pending until `Accepted`, `BuildFailed`,
    /// `BuildEnded` or `BuildInterrupted`.
    Apply { plan: Plan },
    /// Take services down.
    TakeDown {
        services: Vec<Name>,
        /// Whether their dependents keep running (`--only`) instead of stopping first.
        only: bool,
    },
    /// Start a new run of each. A job runs again, and a failed service is tried again.
    Restart { services: Vec<Name> },
    /// Inject a fault into the present run of a service. Ignored without a run that can be
    /// signalled.
    Fault { service: Name, fault: Fault },
    /// Stop everything in order, then end.
    Shutdown,
    /// As `Restart`. An adopted process, or a port holder that runs the same program, is stopped
    /// first.
    Replace { services: Vec<Name> },
    /// As `Shutdown`, but kill everything now, in no order.
    KillNow,

    /// Cargo linked the program of this service.
    Linked {
        service: Name,
        #[serde(flatten)]
        program: LinkedProgram,
    },
    /// The driver keeps the program and can start it (answers [`super::Effect::Accept`]).
    Accepted { service: Name, artifact: Artifact },
    /// The program could not be built or kept. The message is one line.
    BuildFailed { service: Name, message: String },
    /// Cargo exited, with status 0 if `ok`. Programs that it has not linked will not be linked.
    BuildEnded { ok: bool },
    /// As `BuildEnded`, but the command that ran cargo ended first.
    BuildInterrupted,

    /// The service has its ports: they are bound, or were found free (answers
    /// [`super::Effect::Bind`]).
    Bound {
        service: Name,
        /// The numbers, in the order of the plan.
        ports: Vec<u16>,
    },
    /// A port could not be bound.
    BindFailed {
        service: Name,
        failure: BindFailure,
        /// The failures of other ports of the service.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<BindFailure>,
    },
    /// The ports that could not be bound, none if all are free (answers
    /// [`super::Effect::CheckPorts`]).
    PortsChecked { service: Name, failures: Vec<BindFailure> },
    /// What holds the ports of the service (answers [`super::Effect::InspectHolder`]).
    #[serde(rename = "looked")]
    HolderInspected {
        service: Name,
        #[serde(rename = "occupant")]
        result: InspectionResult,
    },

    /// The log of the service cannot be written, or can be written again.
    LogTrouble {
        service: Name,
        /// Why lines are dropped, and what helps; none once lines are written again.
        trouble: Option<String>,
    },

    /// The process runs (answers [`super::Effect::Spawn`] and [`super::Effect::Adopt`]).
    Started { service: Name, run: Run, pid: u32 },
    /// There is no process (answers [`super::Effect::Spawn`] and
    /// [`super::Effect::Adopt`]).
    StartFailed {
        service: Name,
        run: Run,
        /// One line: the operation that failed, and the system's words.
        error: String,
    },
    /// A port that an earlier run had is no longer free, so there is no process (answers
    /// [`super::Effect::Spawn`]). The service has no ports any more.
    PortsLost { service: Name, run: Run },
    /// A probe passed. `external` services have probes too.
    ProbePassed { service: Name, run: Run, probe: usize },
    /// A probe did not pass. The result is kept for messages.
    ProbeSeen {
        service: Name,
        run: Run,
        probe: usize,
        /// One line: `connection refused`, `status 503`.
        seen: String,
    },
    /// `STATUS=` of sd_notify. An empty status removes the last one.
    Status { service: Name, run: Run, status: String },
    /// `EXTEND_TIMEOUT_USEC=` of sd_notify: the present deadline moves to now plus `by`.
    ExtendTimeout { service: Name, run: Run, by: Duration },
    /// `WATCHDOG=1` of sd_notify.
    WatchdogPing { service: Name, run: Run },
    /// A health check ended (answers [`super::Effect::CheckHealth`]).
    HealthChecked {
        service: Name,
        run: Run,
        /// One line: what was seen instead of an expected answer; none if the check passed.
        #[serde(default)]
        failure: Option<String>,
    },
    /// The leader exited. Members of its process group may still run.
    Exited {
        service: Name,
        run: Run,
        exit: Exit,
        /// What may explain it. Records of earlier versions do not have it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clue: Option<ExitClue>,
    },
    /// The process group is empty, and the leader is reaped. Always follows `Exited`.
    Gone { service: Name, run: Run },

    /// The calls between services right now, sent when [`super::Stack::gives_up_at`] asks for
    /// them. They explain what a service was blocked on.
    Calls {
        calls: Vec<Call>,
        /// Where runs listen that do not listen at all of their own addresses.
        #[serde(default, skip_serializing_if = "SortedMap::is_empty")]
        elsewhere: SortedMap<Name, Vec<String>>,
    },

    /// Time passed. Late, early and repeated ticks are harmless.
    Tick,
}

/// A program that cargo linked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkedProgram {
    /// Cargo's path. A later build replaces the file.
    pub path: String,
    /// The folders that `cargo run` adds to the search path of the dynamic loader, in order.
    #[serde(default)]
    pub library_path: Vec<String>,
}

impl From<String> for LinkedProgram {
    /// The program at a path, without folders for the loader.
    fn from(path: String) -> Self {
        Self { path, library_path: Vec::new() }
    }
}

/// A program that the driver keeps for starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Artifact {
    /// The path at which it is kept.
    pub path: String,
    /// The program when it was accepted.
    #[serde(default)]
    pub linked: LinkedProgram,
    /// A hash of its content.
    pub content: u64,
    /// The image that was built from it, if one was requested.
    #[serde(default)]
    pub image: Option<String>,
}

/// What a test does to a run. The service restarts as after a crash, but the restart does not
/// count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Kill the whole process group.
    Kill,
    /// Stop the whole process group with SIGSTOP until it is resumed. Probes and watchdog keep
    /// watching it.
    Pause,
    /// Continue the process group with SIGCONT.
    Resume,
}

/// How a process ended: with an exit code, or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// Its status is unknown: it was not started here, or another process reaped it.
    Unknown,
}

/// What may explain the exit of a program that should have kept running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitClue {
    /// It read its standard input, which is empty.
    ReadEmptyInput,
    /// It left processes running.
    LeftProcesses,
}

/// Why a port could not be bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum BindFailure {
    /// Another process has it.
    Held {
        port: u16,
        /// The process, if the system shows it.
        holder: Option<Box<PortHolder>>,
        /// The user of the socket, if the system shows only that.
        #[serde(default)]
        user: Option<String>,
    },
    /// No process has it, but the system keeps connections of an earlier listener there
    /// (`TIME_WAIT`).
    Closing {
        port: u16,
        /// The time until the system forgets them.
        remaining: Duration,
    },
    /// Any other failure.
    Other {
        port: u16,
        /// One line, in the system's words.
        error: String,
    },
}

/// A process that holds a port, with its pid, command line and user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortHolder {
    pub pid: u32,
    /// The path of its executable, or its name if the system hides the path.
    pub program: String,
    pub command: String,
    pub user: String,
    /// The other end of its connection, if it has the port without listening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The stack that it belongs to, if xtask started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<Box<HolderStack>>,
}

/// The stack of a port holder, and the root of its workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HolderStack {
    pub name: String,
    pub workspace: String,
    /// The service that it belongs to, if that is one of this very stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// The pid of its supervisor. Records of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<u32>,
}

/// The result of an inspection of the port holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "who")]
pub enum InspectionResult {
    /// No process holds the ports any more.
    #[serde(rename = "nobody")]
    Free,
    /// The system hides the process.
    Hidden,
    /// A process that can be adopted until the next inspection.
    Process(Box<InspectedHolder>),
}

/// A port holder as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InspectedHolder {
    /// The process and its user.
    pub holder: PortHolder,
    /// How long it has been running.
    pub age: Duration,
    /// Whether its executable is the file that would be started, or has the same content.
    pub same: bool,
    /// Whether its executable was deleted or replaced on disk.
    pub deleted: bool,
    /// Its arguments, without the name of the program.
    pub args: Vec<String>,
    /// Its values of the requested variables; none if the system hides them.
    pub variables: Option<SortedMap<String, String>>,
    /// Ports of the service on which it does not listen.
    pub elsewhere: Vec<u16>,
    /// What started it.
    pub started_by: StartedBy,
}

/// What started a process, according to its user and the variables that xtask sets for each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartedBy {
    /// A user: it has no such variables.
    Hand,
    /// This stack, which lost track of it.
    ThisStack,
    /// The supervisor of another stack.
    OtherStack,
    /// Another user, whose process is a stranger whatever it runs.
    OtherUser,
}
