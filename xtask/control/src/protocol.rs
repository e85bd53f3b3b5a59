//! The control protocol: one JSON value per line over a Unix socket, in both directions.
//!
//! A request has an id that its replies repeat. A supervisor and its clients may be different
//! versions of the tool. A supervisor answers those requests of another [`VERSION`] that look at a
//! stack or stop it ([`Request::is_for_all_versions`]), and refuses the others. So these requests
//! and a [`Snapshot`] may only gain keys that have a default.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use xtask_core::plan::{KeptFlags, Plan, Service};
use xtask_core::snapshot::{ServiceSnapshot, Snapshot, State, ToolVersion, Watch, WatchState};
use xtask_core::stack::{Fault, LinkedProgram, Report};
use xtask_core::terms::{Name, TOOL};

use crate::context::Context;

/// The version of this protocol.
pub const VERSION: u32 = 3;

/// A request of a client, with version and id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// [`VERSION`].
    pub version: u32,
    /// The version of the client's tool, for messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// An id that every reply repeats; greater than 0.
    pub id: u64,
    /// The requested action.
    pub request: Request,
}

/// The actions of a supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Request {
    /// Send the state of the stack: one [`Reply::Snapshot`].
    Status {
        /// Which services are asked first whether they still answer.
        #[serde(default)]
        ask: Ask,
        /// Whether the state has what the sockets of the machine show: calls, callers that wait,
        /// and listeners elsewhere. To list them takes milliseconds.
        #[serde(default = "yes")]
        sockets: bool,
    },
    /// Send the state and every change: a [`Reply::Snapshot`], then [`Reply::Changed`] and
    /// [`Reply::Watch`] until the connection closes.
    Watch,
    /// Send a connection that watches each [`Reply::Report`] too, from now on.
    Reports,
    /// Start the services of later plans of this connection in this context.
    Context {
        /// The context of the command.
        context: Box<Context>,
    },
    /// Send what the present run of a service was started as: one [`Reply::StartedAs`].
    StartedAs {
        /// The name of the service.
        service: Name,
    },
    /// Bring a plan up.
    Apply {
        /// The services to start, with their settings.
        plan: Box<Plan>,
        /// Whether the stack shuts down when this connection closes.
        hold: bool,
        /// The flags that the stack keeps from now on; none to leave them as they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flags: Option<Box<KeptFlags>>,
    },
    /// Send the flags that the stack keeps, and what runs: one [`Reply::Flags`].
    Flags,
    /// Change whether the stack shuts down when this connection closes.
    Hold {
        /// Whether it shuts down.
        hold: bool,
    },
    /// Cargo builds the applied plan, as the leader of a process group. The supervisor kills the
    /// group if the connection closes before [`Request::BuildEnded`].
    Building {
        /// Cargo's pid.
        pid: u32,
    },
    /// Cargo linked the program of these services.
    Linked {
        /// The services that run it.
        services: Vec<Name>,
        /// Its place, and the search path for its libraries.
        #[serde(flatten)]
        program: LinkedProgram,
    },
    /// The build of these services failed.
    BuildFailed {
        /// The services that run the program.
        services: Vec<Name>,
        /// The reason, one line.
        message: String,
    },
    /// Cargo has exited. The answer follows once every linked program is accepted or refused, so
    /// the state after it is the result of this build. A connection that closes before ends its
    /// build.
    BuildEnded {
        /// Whether cargo succeeded.
        ok: bool,
    },
    /// Stop services, and their dependents before them.
    TakeDown {
        /// The services to stop.
        services: Vec<Name>,
        /// Whether dependents stay up.
        only: bool,
    },
    /// Start a new run of each service.
    Restart {
        /// The services to restart.
        services: Vec<Name>,
    },
    /// Start a new run of each service. If a port holder runs the same program, it is stopped
    /// first.
    Replace {
        /// The services to restart.
        services: Vec<Name>,
    },
    /// Kill, pause or resume the current run of a service, as a fault for tests.
    Fault {
        /// The name of the service.
        service: Name,
        /// The fault to inject.
        fault: Fault,
    },
    /// This connection is that of the stack's watcher. It takes the place of an earlier one, whose
    /// process then exits.
    BeginWatching {
        /// The pid of the watcher.
        pid: u32,
        /// Whether the stack keeps `--watch` for later commands.
        keep: bool,
        /// Why the watcher polls instead of receiving file events, if it does.
        #[serde(default)]
        polls: Option<String>,
    },
    /// What the watcher of this connection does now. Refused if another one took its place.
    WatchState {
        /// The new state.
        state: WatchState,
    },
    /// End the watcher, and keep `--no-watch` for later commands.
    StopWatching,
    /// Stop all services and end the supervisor.
    Shutdown {
        /// Whether to kill everything at once instead of stopping in order.
        now: bool,
    },
}

const fn yes() -> bool {
    true
}

impl Request {
    /// Whether supervisors of every version answer the request.
    pub fn is_for_all_versions(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Watch | Self::TakeDown { .. } | Self::Shutdown { .. } => {
                true
            }
            Self::Context { .. }
            | Self::StartedAs { .. }
            | Self::Apply { .. }
            | Self::Flags
            | Self::Reports
            | Self::Hold { .. }
            | Self::Building { .. }
            | Self::Linked { .. }
            | Self::BuildFailed { .. }
            | Self::BuildEnded { .. }
            | Self::Restart { .. }
            | Self::Replace { .. }
            | Self::Fault { .. }
            | Self::BeginWatching { .. }
            | Self::WatchState { .. }
            | Self::StopWatching => false,
        }
    }
}

/// The version of this tool.
pub fn tool_version() -> ToolVersion {
    ToolVersion { version: env!("CARGO_PKG_VERSION").to_owned(), protocol: VERSION }
}

/// The services that are asked once, side by side, before a status is sent. Only those with
/// `health` or an `http` probe can be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// No service.
    #[default]
    No,
    /// Every service.
    All,
    /// These services.
    Only(Vec<Name>),
}

/// A reply of a supervisor, with the id of its call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The id of the call, or 0 for the connection itself.
    pub id: u64,
    /// The content of the answer.
    pub reply: Reply,
}

/// The content of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Reply {
    /// The request is accepted; its effect appears in the state.
    Done,
    /// The complete state.
    Snapshot(Snapshot),
    /// Services have changed.
    Changed {
        /// The state of the whole stack.
        state: State,
        /// The complete state of each changed service.
        services: Vec<ServiceSnapshot>,
    },
    /// What the present run of a service was started as.
    StartedAs {
        /// The service with the values that the run got; none without a run.
        service: Option<Box<Service>>,
    },
    /// The flags that the stack keeps.
    Flags {
        /// The flags of all commands since it was started.
        flags: Box<KeptFlags>,
        /// The services that should run.
        running: Vec<Name>,
    },
    /// The watcher of the stack began, changed its state or ended. Only after [`Request::Watch`].
    Watch {
        /// The watcher, if there is one.
        watch: Option<Watch>,
    },
    /// A message for the user.
    Report(Report),
    /// The request is refused.
    Refused {
        /// The reason, one line.
        message: String,
    },
}

/// A line that is not a call of this version, and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedCall {
    /// The id of the call, or 0 if it could not be read.
    pub id: u64,
    /// The reason, one line.
    pub message: String,
}

/// The members of a call in every version of the protocol.
#[derive(Deserialize)]
struct Head<'a> {
    version: u32,
    #[serde(default)]
    tool: Option<String>,
    #[serde(default)]
    id: u64,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
}

/// How the tool writes the beginning of [`Request::Apply`].
const APPLY: &str = r#"{"type":"apply","#;

/// [`Request::Apply`] without its tag. An enum with a tag is read into a tree first, which takes
/// longer than the rest of the start of a small stack.
#[derive(Deserialize)]
struct Apply {
    plan: Box<Plan>,
    hold: bool,
    #[serde(default)]
    flags: Option<Box<KeptFlags>>,
}

fn parse_request(request: Option<&RawValue>) -> serde_json::Result<Request> {
    let request = request.ok_or_else(|| serde::de::Error::missing_field("request"))?.get();
    if request.starts_with(APPLY) {
        let Apply { plan, hold, flags } = serde_json::from_slice(request.as_bytes())?;
        return Ok(Request::Apply { plan, hold, flags });
    }
    serde_json::from_slice(request.as_bytes())
}

/// Why a request between two versions of the tool fails.
pub(crate) fn other_version(supervisor: &ToolVersion, client: &ToolVersion) -> String {
    format!(
        "{supervisor} of the tool started the stack, and this command is {client}; \
         `{TOOL} down` stops the stack, then repeat the command"
    )
}

/// Parses a line, with or without its newline.
///
/// # Errors
/// When it is malformed, or a call of another version that only that version answers.
pub fn parse_call(line: &[u8]) -> Result<Call, MalformedCall> {
    let malformed = |id, error: serde_json::Error| {
        let message = format!("malformed request: {error}");
        MalformedCall { id, message }
    };
    let Head { version, tool, id, request } =
        serde_json::from_slice(line).map_err(|error| malformed(0, error))?;
    let request = parse_request(request);
    let is_answered = |request: &Request| request.is_for_all_versions();
    if version != VERSION && !request.as_ref().is_ok_and(is_answered) {
        let asking = tool.as_ref().map_or("unknown", |version| version).to_owned();
        let asking = ToolVersion { version: asking, protocol: version };
        let message = other_version(&tool_version(), &asking);
        return Err(MalformedCall { id, message });
    }
    let request = request.map_err(|error| malformed(id, error))?;
    Ok(Call { version, tool, id, request })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"{"version":2,"workspace":"/w","stack":"dev","data":"/d","build":null,"services":[],"wanted":["a"]}"#;

    fn parsed(request: &str) -> Request {
        let line = format!(r#"{{"version":{VERSION},"id":7,"request":{request}}}"#);
        parse_call(line.as_bytes()).expect("a call").request
    }

    #[test]
    fn apply_is_read_wherever_its_tag_is() {
        let fast = format!(r#"{APPLY}"plan":{PLAN},"hold":true}}"#);
        let slow = format!(r#"{{"hold":true,"plan":{PLAN},"type":"apply"}}"#);
        for request in [fast, slow] {
            let Request::Apply { plan, hold: true, flags: None } = parsed(&request) else {
                panic!("{request}");
            };
            assert_eq!(*plan.wanted[0], *"a");
        }
    }

    #[test]
    fn tool_writes_the_tag_of_apply_first() {
        let plan = Box::new(serde_json::from_str(PLAN).expect("a plan"));
        let apply = Request::Apply { plan, hold: false, flags: None };
        let written = serde_json::to_string(&apply).expect("JSON");
        assert!(written.starts_with(APPLY), "{written}");
        assert!(matches!(parsed(&written), Request::Apply { hold: false, .. }));
    }

    #[test]
    fn usual_settings_of_a_service_are_not_sent() {
        let sent = concat!(
            r#"{"name":"a","kind":"service","declared":{"file":"f","line":1},"#,
            r#""program":{"type":"external"},"args":[],"env":{},"cwd":"/","ports":[],"#,
            r#""socket-activation":false,"depends-on":[],"uses":[],"probes":[],"restart":"no","#,
            r#""stop":{"signal":"SIGTERM","timeout":{"secs":1,"nanos":0}},"#,
            r#""start-timeout":{"secs":1,"nanos":0},"adopt":"never"}"#,
        );
        let service: Service = serde_json::from_str(sent).expect("a service");
        assert_eq!(serde_json::to_string(&service).expect("JSON"), sent);
    }

    #[test]
    fn status_of_an_older_tool_reads_the_sockets() {
        let request = parsed(r#"{"type":"status"}"#);
        assert!(matches!(request, Request::Status { ask: Ask::No, sockets: true }));
    }

    #[test]
    fn call_without_a_request_is_malformed() {
        let line = format!(r#"{{"version":{VERSION},"id":7}}"#);
        let malformed = parse_call(line.as_bytes()).expect_err("no request");
        assert_eq!(malformed.id, 7);
        assert!(malformed.message.contains("missing field `request`"), "{}", malformed.message);
    }
}
