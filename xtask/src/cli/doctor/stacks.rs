//! Checks of stacks: the ports of this workspace's services, and the stacks of other workspaces.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use xtask::cli::{Global, load};
use xtask::session::workspaces;
use xtask::system::{port_holder, supervisors};
use xtask::workspace::planning::Scope;
use xtask_core::plan::Plan;
use xtask_core::stack::event::PortHolder;

use crate::view::doctor::Check;

/// Whether the declared ports of the services that a plain `up` starts can be bound.
pub(super) fn ports(global: &Global, root: &Path) -> Vec<Check> {
    const NAME: &str = "ports";
    const NEED: &str = "`up`";
    let inspected = match load::inspect(global, &[], Scope::Request, |_| {}) {
        Ok(inspected) => inspected,
        Err(error) => return vec![Check::fail(NAME, NEED, error.to_string(), "run `check`")],
    };
    let Some(plan) = &inspected.outcome.plan else {
        let text = "the metadata has mistakes".to_owned();
        return vec![Check::fail("metadata", NEED, text, "`%xtask% check` lists them")];
    };
    let mut checks = Vec::new();
    let mut free = Vec::new();
    for (service, port, address) in declared(plan) {
        let holder = port_holder::of(address);
        let stack = holder.as_ref().and_then(|holder| holder.stack.as_deref());
        let is_own = stack
            .is_some_and(|stack| Path::new(&stack.workspace) == root && stack.name == global.stack);
        if is_own || (holder.is_none() && TcpListener::bind(address).is_ok()) {
            free.push(port.to_string());
            continue;
        }
        let text = format!("port {port} of `{service}` is held by {}", shown(holder.as_ref()));
        let mend = match stack {
            Some(stack) => format!(
                "stop that stack, or use other ports: `%xtask% --manifest-path \
                 {}/Cargo.toml --stack {} down`, `%xtask% up --ports auto`",
                stack.workspace, stack.name
            ),
            None => "stop that program, or use other ports: `%xtask% up --ports auto`".into(),
        };
        let below = |holder: &PortHolder| {
            Path::new(&holder.program).starts_with(&inspected.files.target_directory)
        };
        // A copy that the user started by hand may be adopted.
        let may_be_adopted = stack.is_none() && holder.as_ref().is_some_and(below);
        let check = if may_be_adopted { Check::warn } else { Check::fail };
        checks.push(check(NAME, NEED, text, mend));
    }
    if checks.is_empty() && !free.is_empty() {
        let text = format!("{} are free, or held by this stack", free.join(", "));
        checks.push(Check::pass(NAME, NEED, text));
    }
    checks
}

/// The declared ports with their services and addresses.
fn declared(plan: &Plan) -> Vec<(String, u16, SocketAddr)> {
    let mut found = Vec::new();
    for service in &plan.services {
        for port in &service.ports {
            let Some(number) = port.number else { continue };
            let host = port.host.to_string().parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            found.push((service.name.to_string(), number, SocketAddr::new(host, number)));
        }
    }
    found
}

fn shown(holder: Option<&PortHolder>) -> String {
    match holder {
        Some(PortHolder { stack: Some(stack), .. }) => {
            format!("stack `{}` of `{}`", stack.name, stack.workspace)
        }
        Some(holder) => {
            format!("`{}` (pid {}, user {})", holder.command, holder.pid, holder.user)
        }
        None => "a process that the system does not show".to_owned(),
    }
}

/// The stacks of all workspaces of this user.
pub(super) fn checks() -> Vec<Check> {
    const NAME: &str = "stacks";
    const NEED: &str = "ports and disk space";
    let running: BTreeSet<_> = supervisors::all().map(|found| found.workspace).collect();
    let recorded = workspaces::all().unwrap_or_default();
    let gone: Vec<String> = recorded
        .iter()
        .filter(|recorded| !recorded.stacks().is_empty())
        .map(|recorded| &recorded.workspace.root)
        .filter(|root| root.is_absolute() && !root.exists() && !running.contains(*root))
        .map(|root| root.display().to_string())
        .collect();
    if !gone.is_empty() {
        let text = format!("the state of workspaces that are gone is kept: {}", gone.join(", "));
        let mend = "`%xtask% status --all` shows the folders: delete those that you do not need";
        return vec![Check::warn(NAME, NEED, text, mend)];
    }
    let shown: Vec<String> = running.iter().map(|root| root.display().to_string()).collect();
    let text = match shown.is_empty() {
        true => "none is running".to_owned(),
        false => format!("running in {}", shown.join(", ")),
    };
    vec![Check::pass(NAME, NEED, text)]
}
