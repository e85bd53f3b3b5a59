//! The ports, hosts and URLs of services, seen from this machine or from inside a container.
//!
//! Containers call every service of the stack by its name: the engine resolves the name to
//! the container, or to the machine for a process.
//!
//! Every port stays a hole in a text, even a fixed one: the supervisor fills in the number
//! that was bound. Nothing here decides which number is free.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::request::{Containers, Isolation, Ports, Request};
use super::{Port, Text};
use crate::manifest::suggest::{list, nearest};
use crate::model::{Model, Node, Runs};
use crate::problem::{Code, Problem};
use crate::terms::host::{bracketed, callable, is_loopback, is_wildcard};
use crate::terms::{Name, Placement};

/// The ports, hosts and URL of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint {
    /// Its ports.
    pub(crate) ports: Vec<Port>,
    /// The index of the default port, if there is one.
    pub(crate) default: Option<usize>,
    /// The host that it binds.
    pub(crate) bind_host: String,
    /// The host that callers use; never a wildcard.
    pub(crate) call_host: String,
    /// Its default address.
    pub(crate) url: Option<Text>,
    /// Whether the program alone decides where it listens.
    pub(crate) fixed: bool,
}

/// The side from which a service is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// From a process of this machine.
    Outside,
    /// From a container of the stack.
    Inside,
}

/// The addresses of all services, from both sides.
pub(crate) struct Endpoints {
    pub(crate) outside: BTreeMap<Name, Endpoint>,
    pub(crate) inside: BTreeMap<Name, Endpoint>,
}

impl Endpoints {
    /// The endpoints that a service in this placement sees.
    pub(crate) fn seen_from(&self, placement: Placement) -> &BTreeMap<Name, Endpoint> {
        match placement {
            Placement::Process => &self.outside,
            Placement::Container => &self.inside,
        }
    }
}

/// Where a service runs.
pub(crate) fn placement(node: &Node, request: &Request) -> Placement {
    let chosen = match &request.containers {
        Containers::None => false,
        Containers::All => true,
        Containers::Named(names) => names.iter().any(|name| **name == *node.name),
    };
    let chosen_placement = node.settings.placement.as_ref().map(|at| at.value);
    match node.program {
        Runs::Image(_) => Placement::Container,
        Runs::Binary(_) if chosen => chosen_placement.unwrap_or(Placement::Container),
        Runs::Binary(_) | Runs::Command(_) | Runs::External | Runs::Unknown => Placement::Process,
    }
}

/// Why a port could not be found.
pub(crate) enum NoSuchPort {
    /// There is none at all.
    None,
    /// There are several, and none is the default.
    Ambiguous,
    /// There is none of that name.
    Unknown,
}

impl Endpoint {
    /// The index of a port by name, or of the default one.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<usize, NoSuchPort> {
        match name {
            Some(name) => {
                let known = self.ports.iter().position(|port| port.name == name);
                known.ok_or(NoSuchPort::Unknown)
            }
            None if self.ports.is_empty() => Err(NoSuchPort::None),
            None => self.default.ok_or(NoSuchPort::Ambiguous),
        }
    }

    /// The address of one port.
    pub(crate) fn port_url(&self, service: &Name, port: usize) -> Text {
        if let (Some(url), true) = (&self.url, self.default == Some(port)) {
            return url.clone();
        }
        let mut text = Text::default();
        text.push_str(&format!("http://{}:", bracketed(&self.call_host)));
        text.push_port(service.clone(), port);
        text
    }

    /// The problem of a missing port, without a place.
    pub(crate) fn problem(&self, service: &Name, name: Option<&str>, why: &NoSuchPort) -> Problem {
        let names = || self.ports.iter().map(|port| port.name.as_str());
        match (why, name) {
            (NoSuchPort::Ambiguous, _) => {
                let first = names().next().unwrap_or_default();
                let message = format!("`{service}` has several ports, and none is called `http`");
                Problem::error(Code::AmbiguousPort, message)
                    .note(format!("its ports are {}", list(names())))
                    .hint(format!("name one of them, for example `{first}`"))
            }
            (NoSuchPort::Unknown, Some(name)) if !self.ports.is_empty() => {
                let problem =
                    Problem::error(Code::UnknownPort, format!("`{service}` has no port `{name}`"));
                match nearest(name, names()) {
                    Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
                    None => problem
                        .note(format!("its ports are {}", list(names())))
                        .hint("name one of them, or none for the default"),
                }
            }
            _ => {
                let port = if self.fixed {
                    "the `port` that it listens on"
                } else {
                    "`port = 0` (any free one)"
                };
                Problem::error(Code::NoPort, format!("`{service}` has no port"))
                    .hint(format!("add {port} to service `{service}`"))
            }
        }
    }
}

/// The address of one service, `url` not yet read.
pub(crate) fn endpoint(node: &Node, request: &Request, view: View) -> Endpoint {
    let settings = &node.settings;
    let host = settings.host.as_ref().map_or("127.0.0.1", |host| &host.value);
    let external = matches!(node.program, Runs::External);
    let free = request.isolation == Isolation::Isolated || request.ports == Ports::Auto;
    let wanted = settings.ports().map(|ports| ports.value.as_slice()).unwrap_or_default();
    let ports: Vec<Port> = wanted
        .iter()
        .map(|port| Port {
            name: port.name.value.clone(),
            host: host.to_string(),
            number: port.number.filter(|_| external || !free),
            declared: port.name.place(),
        })
        .collect();
    let http = ports.iter().position(|port| port.name == "http");
    let default = http.or((ports.len() == 1).then_some(0));
    let call_host = match (view, host) {
        // Another machine has the same name everywhere.
        (View::Inside, host) if external && !is_loopback(host) => host.to_string(),
        (View::Inside, _) => node.name.to_string(),
        (View::Outside, host) => callable(host),
    };
    let bind_host = match view {
        View::Outside => host,
        View::Inside => "0.0.0.0",
    };
    let mut address = Endpoint {
        default,
        bind_host: bind_host.to_string(),
        call_host,
        ports,
        url: None,
        fixed: matches!(node.program, Runs::External | Runs::Image(_)),
    };
    if settings.url.is_none() {
        address.url = default.map(|port| address.port_url(&node.name, port));
    }
    address
}

/// Reports ports that two services use, and external services without a port number.
pub(crate) fn check<'a>(
    model: &Model,
    closure: impl Iterator<Item = (&'a Name, &'a Endpoint)>,
    problems: &mut Vec<Problem>,
) {
    let mut seen: BTreeMap<u16, Vec<(&Name, &Port, usize)>> = BTreeMap::new();
    for (name, address) in closure {
        for (index, port) in address.ports.iter().enumerate() {
            match port.number {
                Some(number) => {
                    let others = seen.entry(number).or_default();
                    let clash =
                        others.iter().find(|(_, other, _)| overlap(&other.host, &port.host));
                    if let Some((other, _, i)) = clash {
                        problems.push(port_clash(model, number, (other, *i), (name, index)));
                    }
                    others.push((name, port, index));
                }
                None => problems.extend(external_without_number(model, name, index)),
            }
        }
    }
}

/// Whether two hosts cannot be bound with one port number.
fn overlap(left: &str, right: &str) -> bool {
    left == right || is_wildcard(left) || is_wildcard(right)
}

fn port_clash(
    model: &Model,
    number: u16,
    first: (&Name, usize),
    second: (&Name, usize),
) -> Problem {
    let problem = Problem::error(
        Code::PortClash,
        format!("`{}` and `{}` both use port {number}", first.0, second.0),
    );
    let problem = match place(model, second) {
        Some(words) => problem.at(words.span.clone(), format!("used by `{}`", second.0)),
        None => problem,
    };
    let problem = match place(model, first) {
        Some(words) => problem.context(words.span.clone(), format!("used by `{}`", first.0)),
        None => problem,
    };
    problem.hint("give one of them another number, or 0 for any free one")
}

/// The problem of an external service's port without a number.
fn external_without_number(model: &Model, name: &Name, port: usize) -> Option<Problem> {
    let node = model.node(name)?;
    if !matches!(node.program, Runs::External) {
        return None;
    }
    let words = place(model, (name, port))?;
    let message = format!("`{name}` is external, so its port needs a number");
    Some(
        Problem::error(Code::BadValue, message)
            .at(words.span.clone(), "")
            .hint("write the number that it listens on"),
    )
}

fn place<'a>(model: &'a Model, port: (&Name, usize)) -> Option<&'a crate::manifest::TextAt> {
    let ports = model.node(port.0)?.settings.ports()?;
    ports.value.get(port.1).map(|port| &port.name)
}
