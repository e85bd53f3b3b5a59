//! Everything that a stack can ask of the driver. The list is closed.
//!
//! One place performs effects. Their results are events; no decision is made there.

#![expect(missing_docs, reason = "the docs of a type cover fields that need no doc")]

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Fault, LinkedProgram, Run};
use crate::plan::{LogLimits, Port, Probe, Volume};
use crate::terms::Name;

/// Something to do for `service` and its `run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "effect")]
pub enum Effect {
    /// Keep the program that cargo linked. Answered by `Accepted` or `BuildFailed`.
    Accept {
        service: Name,
        #[serde(flatten)]
        program: LinkedProgram,
        /// The image to build from it, for a service in a container.
        image: Option<ImageWanted>,
    },
    /// Get the ports. With `listen`, bind sockets for the service to inherit. Without it, check
    /// that fixed ports are free, and choose numbers for the others. Answered by `Bound` or
    /// `BindFailed`.
    Bind { service: Name, ports: Vec<Port>, listen: bool },
    /// Find out whether these ports are free, and bind none. The service runs on other ports.
    /// Answered by `PortsChecked`.
    CheckPorts { service: Name, ports: Vec<Port> },
    /// Close the sockets of the service. Not answered.
    Unbind { service: Name },
    /// Inspect the process that holds the ports. Answered by `HolderInspected`.
    #[serde(rename = "look")]
    InspectHolder {
        service: Name,
        /// All with their numbers.
        ports: Vec<Port>,
        /// What the holder is compared with; none where `adopt` accepts any process.
        #[serde(rename = "like")]
        expected: Option<ExpectedProgram>,
    },
    /// Watch and probe the inspected process as a run. Answered by `StartFailed` if it is gone,
    /// else by `Started`, and by `Exited` and `Gone` when it ends. Only `Signal` signals it.
    Adopt {
        service: Name,
        run: Run,
        pid: u32,
        /// The command that it replaces: `command` probes get its variables.
        command: Command,
        probes: Vec<PreparedProbe>,
    },
    /// Stop watching and probing an adopted process, and leave it running. Not answered.
    Release { service: Name, run: Run },
    /// Start a run. Answered by `StartFailed`, or by `Started`, `Exited` and `Gone`.
    Spawn {
        service: Name,
        run: Run,
        command: Command,
        /// Probes that begin with the run, so that an `http` probe is queued on the inherited
        /// socket before the process runs. Each stops when it passes or the run exits.
        probes: Vec<PreparedProbe>,
        #[serde(default)]
        log: LogLimits,
        /// The time limit until ready. Pulling an image does not count.
        #[serde(default)]
        start_timeout: Duration,
    },
    /// Cancel a start that has not reported `Started`. It is still answered by `StartFailed`, or
    /// by `Started` if it was too late.
    #[serde(rename = "call-off")]
    CancelStart { service: Name, run: Run },
    /// Probe an `external` service. Answered by `ProbePassed` for each probe.
    Probe {
        service: Name,
        run: Run,
        /// The number of the context of its `command` probes.
        #[serde(default)]
        context: u64,
        probes: Vec<PreparedProbe>,
    },
    /// Record in the data folder that the job is done, for the plans of later stacks. Not answered.
    MarkDone { service: Name },
    /// Stop the probes of a run. Not answered.
    StopProbes { service: Name, run: Run },
    /// Ask a ready service once. Answered by `HealthChecked`.
    CheckHealth { service: Name, run: Run, probe: PreparedProbe },
    /// Signal the process group of a run, or the process of an adopted one. Not answered.
    Signal { service: Name, run: Run, signal: Signal },
    /// Report something to clients. Not answered.
    Report(Report),
    /// The stack has ended, and the supervisor can exit.
    End,
}

/// A signal to send: SIGKILL, SIGSTOP, SIGCONT, or the stop signal of the service by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    Stop(String),
    Kill,
    Pause,
    Resume,
}

/// A fully rendered command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Command {
    /// A path, or a name that is looked up in `PATH`.
    pub program: String,
    /// For a process of a built program: how `cargo run` starts it. It starts from cargo's path
    /// while that file is `program`.
    #[serde(default)]
    pub linked: Option<LinkedProgram>,
    /// Arguments, without the program.
    pub args: Vec<String>,
    /// The number of the context in which it starts; 0 for the supervisor's own.
    #[serde(default)]
    pub context: u64,
    /// Variables that are added to those of the context.
    pub env: Vec<(String, String)>,
    /// The hosts of the stack that it calls, which no proxy may come between.
    #[serde(default)]
    pub direct_hosts: Vec<String>,
    /// The variables among `env` whose value in the context wins, if it has one.
    #[serde(default)]
    pub shell_wins: Vec<String>,
    pub cwd: String,
    /// The account that it becomes; the supervisor's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<RunAs>,
    /// Names of the inherited sockets (`LISTEN_FDNAMES`), in order. For a container the
    /// supervisor accepts on them.
    pub sockets: Vec<String>,
    /// Whether the run gets a `NOTIFY_SOCKET`.
    pub notify: bool,
    /// `WATCHDOG_USEC`, in microseconds.
    pub watchdog_us: Option<u64>,
    /// The container of the run; none for a process.
    pub container: Option<Container>,
}

/// The account of a process, and the folder that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunAs {
    pub account: String,
    /// The data folder of the service, if the command names the data of the stack.
    pub folder: Option<String>,
}

/// An image to build from a program of the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageWanted {
    pub workspace: String,
    /// The base image; none for an empty one.
    pub base: Option<String>,
    /// The arguments with which the program probes itself.
    pub self_probe: Vec<String>,
}

/// A fully rendered container of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Container {
    pub image: String,
    pub origin: ImageOrigin,
    pub ports: Vec<Published>,
    /// Folders and named volumes that it mounts.
    pub volumes: Vec<Volume>,
    /// Services that it calls by name and for which this machine listens.
    pub neighbours: Vec<Neighbour>,
}

/// What an image contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageOrigin {
    /// A program that xtask built: it needs only what xtask gives it.
    Built,
    /// A program that was built elsewhere and may need more.
    Foreign,
}

/// A published port of a container: host and number on this machine, and number `inside`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Published {
    pub host: String,
    pub outside: u16,
    pub inside: u16,
}

/// A service that a container calls and for which this machine listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Neighbour {
    /// The name by which it is called.
    pub name: Name,
    /// Host and number of its ports on this machine.
    pub ports: Vec<(String, u16)>,
    /// Whether it runs in a container as well.
    #[serde(default)]
    pub contained: bool,
}

/// What an inspected port holder is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExpectedProgram {
    /// The program that would be started: a path, or a name to look up.
    pub program: String,
    /// The `PATH` in which it is looked up, if the plan sets one.
    pub path: Option<String>,
    /// The number of the context whose `PATH` it is otherwise.
    #[serde(default)]
    pub context: u64,
    /// The working directory, for relative paths.
    pub cwd: String,
    /// The variables to read from the process.
    pub variables: Vec<String>,
}

/// A probe with its address filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PreparedProbe {
    /// Its index in the service's probes.
    pub index: usize,
    /// The probe as the plan declares it.
    pub probe: Probe,
    /// Host and number, for `http` and `tcp`.
    pub address: Option<(String, u16)>,
    /// Program and arguments, for `command`.
    pub command: Vec<String>,
    /// Whether the probe is queued on an inherited socket.
    pub queued: bool,
}

/// Something to report, as data. Views choose the words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "report")]
pub enum Report {
    /// The service already runs as requested.
    AlreadyRunning { service: Name },
    /// The phase of a service changed.
    Phase {
        service: Name,
        /// 0 before the first run.
        run: Run,
        phase: crate::snapshot::Phase,
        /// Why, if there is more to report than the phase.
        reason: Option<String>,
    },
    /// The candidate of a handover is `starting`; it is `ready` and has replaced the run of the
    /// service, which stops now; it has `failed`, and the run of the service continues; or it is
    /// `stopped`, because it is no longer wanted.
    Candidate {
        service: Name,
        run: Run,
        phase: crate::snapshot::Phase,
        /// Why it failed or stops.
        reason: Option<String>,
    },
    /// A test injected this fault.
    Fault { service: Name, run: Run, fault: Fault },
    /// An event is out of place: a bug in xtask that does no harm.
    Unexpected {
        /// The event and the state in which it arrived.
        what: String,
    },
}
