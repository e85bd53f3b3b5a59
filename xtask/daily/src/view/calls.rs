//! Text about calls between services: waiting callers, blocked callers, deadlocks.
//!
//! The core decides what is blocked and what is a deadlock.

use std::fmt::Write as _;

use xtask_core::snapshot::{ServiceSnapshot, Snapshot};
use xtask_core::stack::elsewhere_text;
use xtask_core::terms::Name;

use super::style::{BAD, BOLD, RESET, WARN};

/// Counts the callers that wait on a service's ports, if any do.
pub fn callers(service: &ServiceSnapshot) -> Option<String> {
    match service.callers_waiting {
        None | Some(0) => None,
        Some(1) => Some("1 caller waits for an answer".to_string()),
        Some(count) => Some(format!("{count} callers wait for an answer")),
    }
}

/// Where a run listens instead of at its ports, and what else callers may reach.
pub fn listeners(service: &ServiceSnapshot) -> impl Iterator<Item = String> {
    let elsewhere = &service.listens_elsewhere;
    let elsewhere = (!elsewhere.is_empty()).then(|| elsewhere_text(elsewhere));
    elsewhere.into_iter().chain(service.strangers.iter().cloned())
}

/// Names the services whose answer a service waits for, if any.
pub fn blocked(snapshot: &Snapshot, service: &ServiceSnapshot) -> Option<String> {
    let called = snapshot.blocked_calling(service);
    let called: Vec<String> =
        called.map(|called| format!("`{}` ({})", called.name, called.phase.as_str())).collect();
    (!called.is_empty()).then(|| format!("blocked calling {}", called.join(", ")))
}

/// Lines about all deadlocks, or those of one service, with a hint.
pub fn deadlocks(snapshot: &Snapshot, service: Option<&str>) -> String {
    let mut out = String::new();
    let all = snapshot.deadlocks.iter();
    for deadlock in all.filter(|found| service.is_none_or(|name| found.concerns(name))) {
        let _ = writeln!(out, "{BAD}deadlock{RESET}{BOLD}: {deadlock}{RESET}");
    }
    if !out.is_empty() {
        let hint = "let one of them accept connections before it calls the other";
        let _ = writeln!(out, "  {BOLD}hint:{RESET} {hint}");
    }
    out
}

/// Lines about calls that no metadata declares, each with a hint.
pub fn undeclared(snapshot: &Snapshot) -> String {
    let calls = snapshot.undeclared_calls();
    calls.iter().map(|call| undeclared_call(&call.from, &call.to)).collect()
}
pub fn undeclared_call(from: &Name, to: &Name) -> String {
    let text = format!("`{from}` has a connection to `{to}`, which it does not declare");
    let hint = format!("add `{to}` to the `depends-on` or `uses` of `{from}`");
    format!("{WARN}warning{RESET}{BOLD}: {text}{RESET}\n  {BOLD}hint:{RESET} {hint}\n")
}
