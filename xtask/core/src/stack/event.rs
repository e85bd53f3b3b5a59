//! Everything that can happen to a stack. The list is closed.
//!
//! Every event about a process carries its service and run, so that one of a run
//! that is over is dropped, in one place. Events are plain data: a recorded list of
//! them is a trace that can be stepped again.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::calls::Call;
use crate::plan::Plan;
use crate::terms::Name;

/// The number of a process life of one service, counted from 1; never reused in a
/// stack's life.
pub type Run = u64;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    // --- asked for by people ---
    /// A plan is to be brought up; it replaces what is known of the services in it,
    /// and leaves services that it does not name alone. A build for it begins: every
    /// `Artifact` program in it is pending until `Accepted`, `BuildFailed` or
    /// `BuildEnded`.
    Apply {
        /// What is wanted.
        plan: Plan,
    },
    /// Services are no longer wanted.
    TakeDown {
        /// Which.
        services: Vec<Name>,
        /// Whether their dependents stay (`--only`), instead of going down first.
        only: bool,
    },
    /// A new run for each of them; a job runs again, a failed service is tried anew.
    Restart {
        /// Which.
        services: Vec<Name>,
    },
    /// A test does something to the present run of a service, as chance might. Without a
    /// run that can be signalled nothing comes of it.
    Fault {
        /// The service.
        service: Name,
        /// What.
        fault: Fault,
    },
    /// Nothing is wanted any more: stop everything in order, then end.
    Shutdown,
    /// As `Restart`, and a process that was adopted, or that holds the ports and is the
    /// same program, is stopped to make room.
    Replace {
        /// Which.
        services: Vec<Name>,
    },
    /// As `Shutdown`, but everything is killed now, in no order.
    KillNow,

    // --- from the build ---
    /// Cargo linked the program of this service.
    Linked {
        /// The service.
        service: Name,
        /// Where cargo put it.
        path: String,
    },
    /// The program is kept in the stack's state and can be started from there
    /// (answers [`super::Effect::Accept`]).
    Accepted {
        /// The service.
        service: Name,
        /// The program.
        artifact: Artifact,
    },
    /// The program could not be built or kept.
    BuildFailed {
        /// The service.
        service: Name,
        /// One line.
        message: String,
    },
    /// Cargo is done. Programs that were not linked by now will not be.
    BuildEnded {
        /// Whether cargo was content.
        ok: bool,
    },

    // --- about addresses ---
    /// The ports of this service are its own: bound, or found free (answers
    /// [`super::Effect::Bind`]).
    Bound {
        /// The service.
        service: Name,
        /// Their numbers, in the order of the plan.
        ports: Vec<u16>,
    },
    /// A port could not be had.
    BindFailed {
        /// The service.
        service: Name,
        /// Why the first of them could not.
        failure: BindFailure,
        /// Why others of the service could not either.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<BindFailure>,
    },
    /// Who holds the ports of this service (answers [`super::Effect::InspectHolder`]).
    #[serde(rename = "looked")]
    HolderInspected {
        /// The service.
        service: Name,
        /// What the inspection found.
        #[serde(rename = "occupant")]
        result: InspectionResult,
    },

    // --- about its log ---
    /// What the service prints cannot be written to its log any more, or again.
    LogTrouble {
        /// The service.
        service: Name,
        /// Why lines are dropped, in the system's words; none if they are written again.
        trouble: Option<String>,
    },

    // --- about a run ---
    /// The process runs (answers [`super::Effect::Spawn`] and [`super::Effect::Adopt`]).
    Started {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// The process.
        pid: u32,
    },
    /// There is no process (answers [`super::Effect::Spawn`] and
    /// [`super::Effect::Adopt`]).
    StartFailed {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// One line: what failed and the system's words.
        error: String,
    },
    /// One probe passed. For `external` services too.
    ProbePassed {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// The index into the service's probes.
        probe: usize,
    },
    /// One probe saw something that is not readiness: kept for the message.
    ProbeSeen {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// The index into the service's probes.
        probe: usize,
        /// One line: `connection refused`, `status 503`.
        seen: String,
    },
    /// `STATUS=` of sd_notify; an empty one takes the last one back.
    Status {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// Its words.
        status: String,
    },
    /// `EXTEND_TIMEOUT_USEC=` of sd_notify: the present deadline moves to now plus this.
    ExtendTimeout {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// How long from now.
        by: Duration,
    },
    /// `WATCHDOG=1` of sd_notify.
    WatchdogPing {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
    },
    /// The leader ended; members of its group may still live.
    Exited {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// How.
        exit: Exit,
    },
    /// No member of the group is left, and the leader is reaped. Always follows
    /// `Exited`.
    Gone {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
    },

    /// Who calls whom at this moment; comes where [`super::Stack::gives_up_at`] asks for
    /// it, so that a service that is given up can say what it was blocked on.
    Calls {
        /// What was seen.
        calls: Vec<Call>,
    },

    /// Time passed. Late, early and double ticks are harmless.
    Tick,
}

/// A program kept in the stack's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Artifact {
    /// Where it is started from.
    pub path: String,
    /// Its content, as a number that changes when the content does; equal content
    /// has an equal number in a stack's life.
    pub content: u64,
    /// The image that was made of it, if one was wanted.
    #[serde(default)]
    pub image: Option<String>,
}

/// What tests do to a run. What follows from it is no surprise: it is started again as
/// after a crash, but its tries are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It is killed, with its whole group.
    Kill,
    /// It stands still, with its whole group, until it is resumed or told to stop. To the
    /// stack it is a run that hangs: what watches it goes on.
    Pause,
    /// It goes on.
    Resume,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal of this number.
    Signal(i32),
    /// Nobody told: it was not started here, or somebody else took the news.
    Unknown,
}

/// Why a port could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum BindFailure {
    /// Another program listens there.
    Held {
        /// The port's number.
        port: u16,
        /// Who, if the system shows the process.
        holder: Option<PortHolder>,
        /// The user that the socket belongs to, where no more is shown.
        #[serde(default)]
        user: Option<String>,
    },
    /// Anything else, in the system's words.
    Other {
        /// The port's number.
        port: u16,
        /// One line.
        error: String,
    },
}

/// A program that holds a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortHolder {
    /// Its process.
    pub pid: u32,
    /// Its executable's path, or its name where the system hides the path.
    pub program: String,
    /// Its command line.
    pub command: String,
    /// The user it runs as.
    pub user: String,
    /// The stack that it belongs to, if it is one of this tool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<Box<HolderStack>>,
}

/// A stack as others know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HolderStack {
    /// Its name.
    pub name: String,
    /// The root of its workspace.
    pub workspace: String,
    /// The process of its supervisor; records of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<u32>,
}

/// Who holds the ports of a service at a closer look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "who")]
pub enum InspectionResult {
    /// No process holds them any more.
    #[serde(rename = "nobody")]
    Free,
    /// Somebody whom the system does not show.
    Hidden,
    /// A process. It can be adopted until the next look for this service.
    Process(InspectedHolder),
}

/// A process that holds the ports of a service, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InspectedHolder {
    /// Who it is.
    pub holder: PortHolder,
    /// For how long it has run.
    pub age: Duration,
    /// Whether its executable is the file that would be started, or has its content.
    pub same: bool,
    /// Whether its executable's path leads to it no more.
    pub deleted: bool,
    /// Its arguments, without the program's name.
    pub args: Vec<String>,
    /// Those of the variables asked for that it has; none if the system hides them.
    pub variables: Option<BTreeMap<String, String>>,
    /// Numbers among the service's ports on which it does not listen.
    pub elsewhere: Vec<u16>,
    /// Who started it.
    pub started_by: StartedBy,
}

/// Who started a process, as the mark in its environment tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartedBy {
    /// Somebody by hand: it has no mark.
    Hand,
    /// This stack, which lost it.
    ThisStack,
    /// The supervisor of another stack.
    OtherStack,
}
