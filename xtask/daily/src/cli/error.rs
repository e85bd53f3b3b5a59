//! Why a command fails, and the one place that prints it.
//!
//! The variant decides the exit code and the hint. The text never does.

use std::io;
use std::path::PathBuf;

use xtask_control::connection;
use xtask_control::paths::STATE_VARIABLE;
use xtask_core::terms::suggest::nearest;

use super::exit::Exit;
use super::print;
use crate::effects::containers::engine::EngineError;
use crate::session;
use crate::system::way_out::{way_out_of_path, way_out_of_state};
use crate::view::words::{command_for, quoted};
use crate::workspace;

/// A failure that has its own exit code or hint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reason was printed where it happened, or the user interrupted the command.
    #[error("the command ends with exit code {}", .0.code())]
    Reported(Exit),
    /// Cargo finds no workspace; `reason` is its text.
    #[error("{reason}")]
    NoWorkspace { reason: String },
    #[error("failed to find the current folder")]
    NoCurrentFolder(#[source] io::Error),
    #[error("{0}")]
    StateFolder(io::Error),
    /// `known` are the workspace's stacks.
    #[error("nothing is running as stack `{stack}`")]
    NothingRuns { stack: String, known: Vec<String> },
    /// The workspace was renamed while the stack ran.
    #[error(
        "stack `{stack}` still runs with the paths of workspace `{}`, which is now `{}`",
        former.display(), root.display()
    )]
    RunsFromFormerRoot { stack: String, former: PathBuf, root: PathBuf },
    /// The state of a renamed workspace cannot be moved.
    #[error(
        "the state of stack `{stack}` is still in `{}`, where workspace `{}` kept it",
        folder.display(), former.display()
    )]
    StateElsewhere { stack: String, former: PathBuf, folder: PathBuf },
    #[error("no stack of any workspace is running")]
    NothingRunsAnywhere,
    #[error("`--all` is about the stacks of all workspaces, and `--stack` about one")]
    AllStacksAndOne,
    #[error("no service `{service}` in stack `{stack}`")]
    UnknownService { service: String, stack: String, known: Vec<String> },
    #[error("service `{service}` of stack `{stack}` has no log")]
    NoLog { service: String, stack: String, known: Vec<String> },
    #[error("stack `{stack}` is already running, and a record must begin with the stack")]
    RecordOfRunningStack { stack: String },
    #[error("`{command}` chooses the name of its stack and accepts no `--stack`")]
    StackIsChosen { command: &'static str },
    #[error(
        "`{}` and `{}` build the same packages in one target directory, `{}`: cargo uses the \
         programs of one worktree for the other",
        root.display(), other.display(), target.display()
    )]
    SharedTarget { root: PathBuf, other: PathBuf, target: PathBuf, command: &'static str },
    #[error("{0}")]
    NoEngine(EngineError),
    #[error("another command shut the stack down")]
    ShutDown,
    #[error("the supervisor of stack `{stack}` was killed")]
    SupervisorKilled { stack: String },
}

/// Why a command of another package fails, with the exit code and the hint that it chooses.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// A failure with this text, which begins in lower case and has no full stop.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, cause: None }
    }

    /// The same with one command or edit that helps.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with what caused it. The message does not repeat that.
    #[must_use]
    pub fn cause(self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }
}

impl Error {
    /// The exit code of a command that fails with this.
    const fn exit(&self) -> Exit {
        match self {
            Self::Reported(exit) => *exit,
            Self::NoWorkspace { .. }
            | Self::StateFolder(_)
            | Self::UnknownService { .. }
            | Self::NoLog { .. }
            | Self::RecordOfRunningStack { .. }
            | Self::StackIsChosen { .. }
            | Self::AllStacksAndOne
            | Self::SharedTarget { .. } => Exit::USAGE,
            Self::NothingRuns { .. } | Self::NothingRunsAnywhere => Exit::NOTHING_RUNS,
            Self::NoEngine(_) => Exit::NO_ENGINE,
            Self::NoCurrentFolder(_)
            | Self::RunsFromFormerRoot { .. }
            | Self::StateElsewhere { .. }
            | Self::ShutDown
            | Self::SupervisorKilled { .. } => Exit::FAILED,
        }
    }

    /// One command or edit that helps.
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::StateFolder(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                format!("run `chmod go-w` on the folder, or set `{STATE_VARIABLE}` to another one")
            }
            Self::StateFolder(_) => {
                let given = std::env::var(STATE_VARIABLE).unwrap_or_default();
                match !given.is_empty() && PathBuf::from(&given).is_relative() {
                    true => format!("`export {STATE_VARIABLE}=\"$PWD/{given}\"`"),
                    false => format!("set `{STATE_VARIABLE}` to an absolute path in UTF-8"),
                }
            }
            Self::NoCurrentFolder(_) => {
                "if it was deleted, enter another one, or the new one: `cd \"$PWD\"`".to_owned()
            }
            Self::NoWorkspace { .. } => {
                "`%xtask% status --all` lists the stacks of all workspaces".to_owned()
            }
            Self::NothingRuns { stack, known } => match other_stack(stack, known) {
                Some(meant) => meant,
                None => format!("{} starts it", command_for(stack, "up")),
            },
            Self::RunsFromFormerRoot { stack, .. } => {
                format!("{} stops it; the next `up` keeps its data", command_for(stack, "down"))
            }
            Self::StateElsewhere { stack, .. } => format!(
                "{} removes containers that the engine kept; then repeat the command",
                command_for(stack, "down")
            ),
            Self::UnknownService { service, known, .. } => meant_or(service, known, || {
                format!("use one of its services: {}", known.join(", "))
            }),
            Self::NoLog { service, stack, known } => match known.is_empty() {
                true => format!("{} starts the stack", command_for(stack, "up")),
                false => meant_or(service, known, || {
                    format!("these services have logs: {}", known.join(", "))
                }),
            },
            Self::RecordOfRunningStack { stack } => {
                format!("stop the stack first: {}", command_for(stack, "down"))
            }
            Self::StackIsChosen { command: "test-e2e" } => {
                "omit `--stack`, or test a running stack: `XTASK_STACK_DIR=FOLDER cargo test`"
                    .into()
            }
            Self::StackIsChosen { .. } => "omit `--stack`".to_owned(),
            // A copy of a checkout contains the programs of the original.
            Self::SharedTarget { root, target, .. } if target.starts_with(root) => {
                "`cargo clean`, if this folder is a copy of that one".to_owned()
            }
            Self::SharedTarget { root, command, .. } => {
                let own = root.join("target");
                format!("`CARGO_TARGET_DIR={} %xtask% {command}`", quoted(&own.to_string_lossy()))
            }
            Self::NoEngine(error) => error.hint()?.to_owned(),
            Self::NothingRunsAnywhere => {
                "`%xtask% up` starts the services of this workspace".to_owned()
            }
            Self::AllStacksAndOne => "omit one of them".to_owned(),
            Self::ShutDown => "`%xtask% up` starts it again".to_owned(),
            Self::SupervisorKilled { stack } => {
                format!("{} starts it again", command_for(stack, "up"))
            }
            // The reason was printed, with its hint.
            Self::Reported(_) => return None,
        })
    }
}

/// "Did you mean", or the other hint if no known name is near.
pub fn meant_or(name: &str, known: &[String], other: impl FnOnce() -> String) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => other(),
    }
}

/// "Did you mean" with another of the workspace's stacks, if one has nearly that name.
pub(crate) fn other_stack(stack: &str, known: &[String]) -> Option<String> {
    let others = known.iter().map(String::as_str).filter(|known| *known != stack);
    nearest(stack, others).map(|meant| format!("did you mean `--stack {meant}`?"))
}

/// Prints an error with its causes and its hint, and returns the exit code. A broken pipe is
/// not an error.
pub fn report(error: &anyhow::Error) -> Exit {
    let exit = exit_of(error);
    let is_reported = matches!(error.downcast_ref(), Some(Error::Reported(_)));
    if !is_reported && !is_broken_pipe(error) {
        print::error(&format!("{error:#}"), hint(error).as_deref());
    }
    exit
}

/// The exit code of a command that fails with this error.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        return Exit::DONE;
    }
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    match error.downcast_ref::<Error>() {
        Some(error) => error.exit(),
        None if error.is::<workspace::Error>() => Exit::USAGE,
        None => Exit::FAILED,
    }
}

pub(super) fn hint(error: &anyhow::Error) -> Option<String> {
    let own = match (error.downcast_ref::<Error>(), error.downcast_ref::<Failure>()) {
        (Some(error), _) => error.hint(),
        (None, Some(failure)) => failure.hint.clone(),
        (None, None) => None,
    };
    own.or_else(|| hint_of_cause(error))
}

/// The way out of an error of another room, or of the system.
fn hint_of_cause(error: &anyhow::Error) -> Option<String> {
    let is_complete = matches!(error.downcast_ref(), Some(Error::Reported(_)))
        || connection_of(error).is_some_and(is_complete)
        || matches!(
            error.downcast_ref(),
            // The supervisor printed its own hint.
            Some(session::Error::SupervisorExited { output }) if !output.is_empty()
        );
    let found = match (error.downcast_ref(), connection_of(error), error.downcast_ref()) {
        (_, Some(error), _) => of_connection(error),
        (Some(error), _, _) => of_session(error),
        (_, _, Some(error)) => of_workspace(error),
        (None, None, None) => None,
    };
    let system = || error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    let found = found.or_else(|| way_out_of_path(system()?));
    let other = || "`%xtask% doctor` checks what the tool needs on this machine".to_owned();
    (!is_complete).then(|| found.unwrap_or_else(other))
}

fn of_session(error: &session::Error) -> Option<String> {
    match error {
        session::Error::Deleted { stack, .. } => {
            Some(format!("{} stops it", command_for(stack, "down")))
        }
        session::Error::Path { source, .. } => way_out_of_state(source),
        session::Error::Connection(_)
        | session::Error::System { .. }
        | session::Error::SupervisorExited { .. }
        | session::Error::NoStateFolder(_) => None,
    }
}

fn connection_of(error: &anyhow::Error) -> Option<&connection::Error> {
    match error.downcast_ref() {
        Some(session::Error::Connection(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// Whether the text contains the way out.
fn is_complete(error: &connection::Error) -> bool {
    use connection::Error::{OtherVersion, Unreachable};
    matches!(error, Unreachable { .. } | OtherVersion { .. })
}

fn of_connection(error: &connection::Error) -> Option<String> {
    Some(match error {
        connection::Error::Socket { .. } | connection::Error::Unexpected(_) => {
            "`%xtask% down` stops the stack, also without its socket".to_owned()
        }
        connection::Error::Foreign { .. } => {
            "only that user and root can stop its owner: `ss -xlp` shows the process".to_owned()
        }
        connection::Error::Gone => "`%xtask% status` shows whether the stack still runs".to_owned(),
        connection::Error::Refused(_) => "`%xtask% status` shows the state of the stack".to_owned(),
        connection::Error::NothingRuns(stack) => {
            format!("{} starts it", command_for(stack, "up"))
        }
        connection::Error::Unreachable { .. }
        | connection::Error::OtherVersion { .. }
        | connection::Error::UnknownService { .. }
        | connection::Error::NoAddress(_)
        | connection::Error::NotReady { .. } => return None,
    })
}

fn of_workspace(error: &workspace::Error) -> Option<String> {
    match error {
        workspace::Error::NoCargo { source } if source.kind() == io::ErrorKind::NotFound => {
            Some("add the folder of cargo to `PATH`: `PATH=~/.cargo/bin:$PATH`".to_owned())
        }
        workspace::Error::Cargo { .. } => Some(
            "run it in a workspace that `cargo metadata` can read, or name one: `--manifest-path PATH`"
                .to_owned(),
        ),
        workspace::Error::NotUtf8 { .. } => Some("rename the folder".to_owned()),
        workspace::Error::NoCargo { .. }
        | workspace::Error::Answer { .. }
        | workspace::Error::Read { .. } => None,
    }
}

/// Whether the reader of standard output has gone, which is no error.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
