//! Everything a stack can ask of the world. The list is closed.
//!
//! An effect is performed in one place and ends in events; it decides nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Fault, Run};
use crate::plan::{LogLimits, Port, Probe, Volume};
use crate::terms::Name;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "effect")]
pub enum Effect {
    /// Keep the program that cargo linked. Ends in `Accepted` or `BuildFailed`.
    Accept {
        /// The service.
        service: Name,
        /// Where cargo put it.
        path: String,
        /// The image to make of it, for a service in a container.
        image: Option<ImageWanted>,
    },
    /// Get the ports: with `listen`, bind and listen for the service to inherit;
    /// else find fixed ones free, and choose numbers for the others. Ends in `Bound`
    /// or `BindFailed`.
    Bind {
        /// The service.
        service: Name,
        /// Its ports.
        ports: Vec<Port>,
        /// Whether the service inherits the sockets.
        listen: bool,
    },
    /// Close the sockets of this service. No event follows.
    Unbind {
        /// The service.
        service: Name,
    },
    /// Look closely at who holds these ports. Ends in `HolderInspected`.
    #[serde(rename = "look")]
    InspectHolder {
        /// The service.
        service: Name,
        /// Its ports, all with their numbers.
        ports: Vec<Port>,
        /// What the holder is compared with; none where `adopt` accepts any process.
        #[serde(rename = "like")]
        expected: Option<ExpectedProgram>,
    },
    /// Take the process that the last look found as a run: watch it and probe it. Ends
    /// in `StartFailed` if it is no more, or in `Started`, and in `Exited` and `Gone`
    /// when it ends. It gets no signal but by `Signal`.
    Adopt {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// The process.
        pid: u32,
        /// What would have been started in its place: `command` probes see its variables.
        command: Command,
        /// Probes, none of which is queued.
        probes: Vec<PreparedProbe>,
    },
    /// Leave an adopted process to itself: no more probes, no more events of it. No
    /// event follows.
    Release {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
    },
    /// Start a run. Ends in `StartFailed`, or in `Started`, `Exited`, `Gone`.
    Spawn {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// What to run.
        command: Command,
        /// Probes to start with it, so that an `http` probe can be queued on the
        /// inherited socket before the process is there. They stop by themselves
        /// when they pass or their run exits.
        probes: Vec<PreparedProbe>,
        /// How much is kept of what it prints.
        #[serde(default)]
        log: LogLimits,
        /// How long it may take until it is ready, from when it can start at all: what has to
        /// be fetched first does not count.
        #[serde(default)]
        start_timeout: Duration,
    },
    /// Give up a start that has not come to its `Started`. It still ends in `StartFailed`, or
    /// in `Started` where it was too late; no other event follows.
    #[serde(rename = "call-off")]
    CancelStart {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
    },
    /// Probe a service that is not managed. Ends in `ProbePassed` for each.
    Probe {
        /// The service.
        service: Name,
        /// The run, though there is no process.
        run: Run,
        /// What to try.
        probes: Vec<PreparedProbe>,
    },
    /// Stop the probes of a run that goes on or is given up. No event follows.
    StopProbes {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
    },
    /// Send a signal to the whole group of a run; of an adopted one to its process
    /// alone. No event follows.
    Signal {
        /// The service.
        service: Name,
        /// The run.
        run: Run,
        /// Which.
        signal: Signal,
    },
    /// Say something to whoever watches. No event follows.
    Report(Report),
    /// Everything is over: the supervisor may go.
    End,
}

/// A signal to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// The service's own stop signal, by name.
    Stop(String),
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
}

/// A command with nothing left to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Command {
    /// A path, or a name to look up in `PATH`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set on top of the supervisor's cleaned environment.
    pub env: Vec<(String, String)>,
    /// The working folder.
    pub cwd: String,
    /// Names of the inherited sockets (`LISTEN_FDNAMES`), in order; empty for none. In the
    /// stead of a container the supervisor accepts from them.
    pub sockets: Vec<String>,
    /// Whether the run gets a `NOTIFY_SOCKET`.
    pub notify: bool,
    /// `WATCHDOG_USEC`, in microseconds.
    pub watchdog_us: Option<u64>,
    /// The container to run it in; none for a process.
    pub container: Option<Container>,
}

/// An image to make of a program that was built here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageWanted {
    /// The workspace root.
    pub workspace: String,
    /// What it is built upon; none for nothing.
    pub base: Option<String>,
    /// The arguments with which the program asks itself whether it is well.
    pub self_probe: Vec<String>,
}

/// A container with nothing left to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Container {
    /// The image's reference.
    pub image: String,
    /// Whose program it holds.
    pub origin: ImageOrigin,
    /// Its ports.
    pub ports: Vec<Published>,
    /// What it sees of this machine.
    pub volumes: Vec<Volume>,
    /// Services that it calls by name and for which this machine listens.
    pub neighbours: Vec<Neighbour>,
}

/// Whose program an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageOrigin {
    /// Ours: it is known to need nothing but what it was given.
    Built,
    /// Somebody else's, who knows what it needs.
    Foreign,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Published {
    /// Where this machine listens for it.
    pub host: String,
    /// On which number.
    pub outside: u16,
    /// The number in the container.
    pub inside: u16,
}

/// A service that a container calls where this machine listens for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Neighbour {
    /// Its name, by which it is called.
    pub name: Name,
    /// Host and number of its ports on this machine.
    pub ports: Vec<(String, u16)>,
    /// Whether it runs in a container, too.
    #[serde(default)]
    pub contained: bool,
}

/// What the holder of a port is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExpectedProgram {
    /// The program that would be started: a path, or a name to look up.
    pub program: String,
    /// The `PATH` to look it up in, where the plan sets one.
    pub path: Option<String>,
    /// The folder that a relative path begins at.
    pub cwd: String,
    /// The variables to tell of.
    pub variables: Vec<String>,
}

/// A probe with its address filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PreparedProbe {
    /// The index into the service's probes.
    pub index: usize,
    /// The probe.
    pub probe: Probe,
    /// Where to, for `http` and `tcp`.
    pub address: Option<(String, u16)>,
    /// Program and arguments, for `command`.
    pub command: Vec<String>,
    /// Whether the socket is inherited, so that the probe is queued on it.
    pub queued: bool,
}

/// Something worth saying, as data; views choose the words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "report")]
pub enum Report {
    /// It runs already and is what was asked for.
    AlreadyRunning {
        /// The service.
        service: Name,
    },
    /// The phase of a service changed.
    Phase {
        /// The service.
        service: Name,
        /// Its run, 0 before the first.
        run: Run,
        /// The new phase.
        phase: crate::snapshot::Phase,
        /// Why, where there is more to say than the phase.
        reason: Option<String>,
    },
    /// Somebody asked for this fault: what follows is no surprise.
    Fault {
        /// The service.
        service: Name,
        /// Its run.
        run: Run,
        /// What is done to it.
        fault: Fault,
    },
    /// An event that makes no sense where it came; a fault of the tool, said and survived.
    Unexpected {
        /// What came, and when.
        what: String,
    },
}
