//! The control protocol: one JSON value a line over a Unix socket, both ways.
//!
//! Every request carries a number that its replies repeat, so that no request is
//! answered with another's reply. There is no port and no wire version negotiation:
//! a supervisor and its clients are the same program, and [`VERSION`] says so.

use serde::{Deserialize, Serialize};
use xtask_core::plan::Plan;
use xtask_core::snapshot::{ServiceSnapshot, Snapshot, State};
use xtask_core::stack::{Fault, Report};
use xtask_core::terms::Name;

/// The version of this protocol; another one is refused with a clear word.
pub const VERSION: u32 = 2;

/// What a client sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// [`VERSION`].
    pub version: u32,
    /// Repeated in every reply.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What is asked of a supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Request {
    /// The state of the stack: one [`Reply::Snapshot`].
    Status,
    /// The state now, and every change: a [`Reply::Snapshot`], then [`Reply::Changed`] and
    /// [`Reply::Report`] until the connection closes.
    Watch,
    /// Bring this up. With `hold` the stack is shut down when this connection closes.
    Apply {
        /// The plan.
        plan: Box<Plan>,
        /// Whether the stack lives only as long as this connection.
        hold: bool,
    },
    /// Whether the stack lives only as long as this connection, from now on.
    Hold {
        /// Whether it does.
        hold: bool,
    },
    /// Cargo builds what this connection applies, as the leader of a group of its own. The
    /// group is killed when the connection closes before its [`Request::BuildEnded`].
    Building {
        /// Its process.
        pid: u32,
    },
    /// Cargo linked the program of these services.
    Linked {
        /// The services that run it.
        services: Vec<Name>,
        /// Where cargo put it.
        path: String,
    },
    /// The program of these services cannot be had.
    BuildFailed {
        /// The services.
        services: Vec<Name>,
        /// One line.
        message: String,
    },
    /// Cargo is done. Answered once every program that was linked is accepted or
    /// refused, so that the state that follows is what comes of this build. A connection
    /// that closes in between ends its build.
    BuildEnded {
        /// Whether it was content.
        ok: bool,
    },
    /// Take services down.
    TakeDown {
        /// Which.
        services: Vec<Name>,
        /// Leave their dependents up.
        only: bool,
    },
    /// A new run for each.
    Restart {
        /// Which.
        services: Vec<Name>,
    },
    /// A new run for each; a process of the same program that was started by somebody
    /// else is stopped to make room.
    Replace {
        /// Which.
        services: Vec<Name>,
    },
    /// Kill, pause or resume the present run of a service, as a fault for tests.
    Fault {
        /// Which.
        service: Name,
        /// What.
        fault: Fault,
    },
    /// End the stack.
    Shutdown {
        /// Kill everything at once instead of stopping in order.
        now: bool,
    },
}

/// What a supervisor sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The call it answers.
    pub id: u64,
    /// The answer.
    pub reply: Reply,
}

/// An answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Reply {
    /// Taken; what comes of it shows in the state.
    Done,
    /// The whole state.
    Snapshot(Snapshot),
    /// These services changed.
    Changed {
        /// The stack as a whole.
        state: State,
        /// Each changed service, whole.
        services: Vec<ServiceSnapshot>,
    },
    /// Something worth saying.
    Report(Report),
    /// Not taken, and why, one line.
    Refused {
        /// Why.
        message: String,
    },
}

/// A line that is no call, and what its sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonsense {
    /// The number of the call, as far as it was understood; else 0.
    pub id: u64,
    /// What is wrong with it, one line.
    pub message: String,
}

/// What every version of the protocol begins with. Whatever else a call holds costs no
/// memory here.
#[derive(Deserialize)]
struct Head {
    version: u32,
    #[serde(default)]
    id: u64,
}

/// The call in a line, as far as the version of the protocol allows; with or without the
/// line's end.
///
/// # Errors
/// Where it is none of this version.
pub fn read(line: &[u8]) -> Result<Call, Nonsense> {
    let no_sense = |id, error: serde_json::Error| {
        let message = format!("the request makes no sense: {error}");
        Nonsense { id, message }
    };
    let head: Head = serde_json::from_slice(line).map_err(|error| no_sense(0, error))?;
    if head.version != VERSION {
        let message = format!(
            "protocol version {} was spoken and this supervisor speaks {VERSION}, as it was started \
             by another version of this tool; `kill {}` stops its stack in order",
            head.version,
            std::process::id()
        );
        return Err(Nonsense { id: head.id, message });
    }
    serde_json::from_slice(line).map_err(|error| no_sense(head.id, error))
}
