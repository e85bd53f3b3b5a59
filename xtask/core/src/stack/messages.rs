//! The texts of the reducer: reasons of phases, as short facts that views put into sentences.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::event::{BindFailure, Exit, ExitClue, HolderStack, InspectedHolder, PortHolder};
use super::phase::Launched;
use super::ports::HeldPort;
use crate::plan::Probe;
use crate::snapshot::Failure;
use crate::terms::host::authority;
use crate::terms::{Name, duration};

/// How many changed variables a reason names.
const SHOWN_VARIABLES: usize = 3;

/// The state of a run that is beyond reach.
pub(crate) const LOST: &str = "has processes that survived SIGKILL";

/// The state of a job with `once` that an earlier stack did.
pub(crate) const DONE_BEFORE: &str = "done before";

/// The state of a run that a fault paused.
pub(crate) const PAUSED: &str = "paused until a test resumes it";

/// The state of a run in which a signal or a debugger stopped a process.
pub fn stopped(pid: i32) -> String {
    format!("process {pid} was stopped by a signal or a debugger; `kill -CONT {pid}` continues it")
}

/// The failure of a build. Cargo's messages are only on the terminal of that build.
pub(crate) fn not_built(service: &Name, stack: &str) -> String {
    format!("its program could not be built; `{}` shows why", up(service, stack))
}

/// The failure of a build whose client was killed or interrupted.
pub(crate) fn build_interrupted(service: &Name, stack: &str) -> String {
    format!("the build of its program was interrupted; `{}` builds it", up(service, stack))
}

/// The failure of a build in which cargo reported success and no program.
pub(crate) fn not_linked(service: &Name, stack: &str) -> String {
    format!("cargo ended without linking its program; `{}` tries again", up(service, stack))
}

fn up(service: &Name, stack: &str) -> String {
    format!("%xtask% up --stack {stack} {service}")
}

/// The failure of a dependency. A dependency that failed because of its own dependency passes
/// that reason on, so that a long chain names its cause.
pub(crate) fn failed(name: &Name, failure: Failure, reason: &str) -> String {
    if failure == Failure::Dependency {
        reason.to_string()
    } else {
        format!("`{name}` failed: {reason}")
    }
}

/// The state of a service whose candidate failed.
pub(crate) fn failed_candidate(reason: &str) -> String {
    format!("keeps its previous run, because the new one failed: {reason}")
}

/// Why a candidate stops that did not fail.
pub(crate) const SUPERSEDED: &str = "it is no longer wanted";

/// How a process ended.
pub fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with status {code}"),
        Exit::Signal(signal) => match signal_name(signal) {
            Some(name) => format!("ended by signal {signal} ({name})"),
            None => format!("ended by signal {signal}"),
        },
        Exit::Unknown => "exited, status unknown".to_string(),
    }
}

/// What may explain an exit, and the edit that mends it. It follows the exit.
pub(crate) fn exit_clue(clue: ExitClue) -> &'static str {
    match clue {
        ExitClue::ReadEmptyInput => {
            "; it read its standard input, which is empty: to keep the input open, write \
             `command = [\"sh\", \"-c\", \"tail -f /dev/null | PROGRAM\"]`"
        }
        ExitClue::LeftProcesses => {
            "; it left processes in the background, and the stack stops them: use its option that \
             keeps it in the foreground"
        }
    }
}

/// The name of a signal that has the same number on all systems.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// Why a service cannot have its ports: one reason for each port.
pub(crate) fn without_ports(first: &BindFailure, others: &[BindFailure]) -> String {
    let reasons: Vec<String> = core::iter::once(first).chain(others).map(without_port).collect();
    reasons.join("; ")
}

fn without_port(failure: &BindFailure) -> String {
    match failure {
        BindFailure::Held { port, holder, user } => {
            held_by(*port, holder.as_deref(), user.as_deref())
        }
        BindFailure::Closing { port, remaining } => closing(*port, *remaining),
        BindFailure::Other { port, error } => format!("port {port} could not be bound: {error}"),
    }
}

/// As [`without_ports`], for a first port that another process holds.
pub(crate) fn held(held: &HeldPort) -> String {
    let HeldPort { port, holder, user, others } = held.clone();
    without_ports(&BindFailure::Held { port, holder, user }, &others)
}

fn held_by(port: u16, holder: Option<&PortHolder>, user: Option<&str>) -> String {
    match (holder, user) {
        (Some(PortHolder { pid, program, command, user, connection, stack }), _) => {
            let stack = stack.as_deref().map_or(String::new(), sibling);
            let how = match connection {
                Some(other) => format!(" for its connection with {other}, without listening"),
                None => String::new(),
            };
            format!(
                "port {port} is held by {stack}`{program}` (pid {pid}, user {user}){how}: \
                 `{command}`"
            )
        }
        (None, Some(user)) => format!(
            "port {port} is held by a program of user {user}; only that user and root can see \
             which"
        ),
        (None, None) => {
            format!("port {port} is in use, and the system does not show which program uses it")
        }
    }
}

/// A port that no process has and no process can have yet.
pub(crate) fn closing(port: u16, remaining: Duration) -> String {
    format!(
        "port {port}, where the system holds closed connections (TIME_WAIT) for up to {}, because \
         the program that listened there does not set SO_REUSEADDR",
        duration::age(remaining.max(Duration::from_secs(1)))
    )
}

/// The stack of a port holder, and what stops it. The command finds only a stack whose state
/// is in the usual folder; the signal works without it.
fn sibling(stack: &HolderStack) -> String {
    let HolderStack { name, workspace, service, supervisor } = stack;
    if let Some(service) = service {
        return format!("`{service}` of this stack, ");
    }
    let signal = supervisor.map(|pid| format!(", or `kill {pid}`,")).unwrap_or_default();
    format!(
        "stack `{name}` of workspace `{workspace}` (`%xtask% down --stack {name}` \
         there{signal} ends it): "
    )
}

/// The failure of a service whose port another service of the stack keeps.
pub(crate) fn held_by_sibling(port: u16, sibling: &Name, stack: &str) -> String {
    format!(
        "port {port} is held by `{sibling}` of this stack (`%xtask% down --stack {stack} {sibling}` \
         stops it)"
    )
}

/// Why a run is replaced.
pub(crate) const KIND_CHANGED: &str = "its `kind` changed";
pub(crate) const PROGRAM_CHANGED: &str = "its program changed";
pub(crate) const PORTS_CHANGED: &str = "its ports changed";
pub(crate) const SOCKETS_CHANGED: &str = "its inherited sockets changed";
pub(crate) const ADOPTED_DIFFERS: &str = "the adopted process differs from the metadata";

/// Why a run with other variables is replaced. It names no values, which may be secret.
pub(crate) fn variables_changed(old: &[(String, String)], new: &[(String, String)]) -> String {
    let missing = |from: &[(String, String)], pair: &(String, String)| !from.contains(pair);
    let changed = new.iter().filter(|pair| missing(old, pair));
    let removed = old.iter().filter(|pair| missing(new, pair));
    let mut names: Vec<&str> = changed.chain(removed).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(SHOWN_VARIABLES);
    names.truncate(SHOWN_VARIABLES);
    let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match more {
        0 => format!("{} changed", shown.join(", ")),
        more => format!("{} and {more} more variables changed", shown.join(", ")),
    }
}

/// Why a service stops that a plain `up` does not find in the metadata.
pub(crate) const UNDECLARED: &str = "the metadata no longer declares it";

pub(crate) fn holder(holder: Option<&PortHolder>) -> String {
    match holder {
        Some(PortHolder { pid, program, command, user, .. }) => {
            format!("`{program}` (pid {pid}, user {user}): `{command}`, which holds the port,")
        }
        None => String::from("the program that holds the port"),
    }
}

/// The state of an adopted process.
pub(crate) const ADOPTED: &str = "adopted: it was not started here and gets no signal";

/// The state of a process that is stopped on request.
pub(crate) const MAKES_ROOM: &str = "it was not started here and is stopped to free the port";

pub(crate) fn other_build(found: &InspectedHolder) -> String {
    format!("{}, is another build of it", this(found))
}

pub(crate) fn left_behind(found: &InspectedHolder) -> String {
    format!("{}, was left behind by an earlier run", this(found))
}

pub(crate) fn not_to_be_adopted(found: &InspectedHolder) -> String {
    format!("{}, is the same program, and `adopt = \"never\"`", this(found))
}

pub(crate) fn differs(found: &InspectedHolder, differences: &[String]) -> String {
    format!("{}, is the same program with other settings: {}", this(found), differences.join(", "))
}

fn this(found: &InspectedHolder) -> String {
    let PortHolder { pid, program, user, .. } = &found.holder;
    format!("`{program}` (pid {pid}, user {user}), running for {}", duration::age(found.age))
}

/// A probe of a run, with the address that it has.
pub(crate) fn probe(launched: Option<&Launched>, probe: &Probe) -> String {
    let address = |index| launched.and_then(|launched| launched.address(index));
    let port = |index: usize| match address(index) {
        Some((host, number)) => authority(host, number),
        None => format!("port {index}"),
    };
    match probe {
        Probe::Notify => "`READY=1`".to_string(),
        Probe::Http { path, port: index, .. } => format!("`GET {path}` at {}", port(*index)),
        Probe::Tcp { port: index } => format!("connection to {}", port(*index)),
        Probe::Log { pattern } => format!("line that matches `{pattern}`"),
        Probe::Command { command } => {
            let words: Vec<String> = command.iter().map(ToString::to_string).collect();
            format!("`{}`", words.join(" "))
        }
    }
}

/// Where a run listens instead of at its own ports.
pub fn elsewhere(at: &[String]) -> String {
    format!("it listens on {} instead", at.join(", "))
}

/// A probe and its last result.
pub(crate) fn seen(probe: &str, seen: Option<&str>) -> String {
    format!("{probe}: {}", seen.unwrap_or("nothing yet"))
}
