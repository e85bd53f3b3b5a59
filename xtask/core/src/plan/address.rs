//! Where services are called: ports, hosts and addresses, seen from this machine or from
//! inside a container.
//!
//! Inside, every service of the stack is called by its name, wherever it runs itself: the
//! engine's names lead to containers, and for processes to the machine.
//!
//! Ports stay holes in every text, fixed ones too: the supervisor fills in what was
//! really bound. Nothing here decides which number is free.

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

/// The address of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Address {
    /// Its ports.
    pub(crate) ports: Vec<Port>,
    /// Which of them is meant when none is named.
    pub(crate) default: Option<usize>,
    /// What it binds.
    pub(crate) bind_host: String,
    /// What others call: a wildcard cannot be called.
    pub(crate) call_host: String,
    /// Its default address.
    pub(crate) url: Option<Text>,
    /// Whether it listens where somebody else decided.
    pub(crate) given: bool,
}

/// From where an address is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// From a process of this machine.
    Outside,
    /// From a container of the stack.
    Inside,
}

/// The addresses of all services, from both sides.
pub(crate) struct Addresses {
    pub(crate) outside: BTreeMap<Name, Address>,
    pub(crate) inside: BTreeMap<Name, Address>,
}

impl Addresses {
    /// Those that a service sees that runs there.
    pub(crate) fn seen_from(&self, placement: Placement) -> &BTreeMap<Name, Address> {
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
    let said = node.settings.placement.as_ref().map(|at| at.value);
    match node.program {
        Runs::Image(_) => Placement::Container,
        Runs::Binary(_) if chosen => said.unwrap_or(Placement::Container),
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

impl Address {
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

    /// The problem of a port that could not be found; the caller adds the place.
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
                let port = if self.given {
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
pub(crate) fn address(node: &Node, request: &Request, view: View) -> Address {
    let settings = &node.settings;
    let host = settings.host.as_ref().map_or("127.0.0.1", |host| &host.value);
    // What is not managed listens where it listens.
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
        // Somebody else's machine has the same name everywhere.
        (View::Inside, host) if external && !is_loopback(host) => host.to_string(),
        (View::Inside, _) => node.name.to_string(),
        (View::Outside, host) => callable(host),
    };
    let bind_host = match view {
        View::Outside => host,
        View::Inside => "0.0.0.0",
    };
    let mut address = Address {
        default,
        bind_host: bind_host.to_string(),
        call_host,
        ports,
        url: None,
        given: matches!(node.program, Runs::External | Runs::Image(_)),
    };
    if settings.url.is_none() {
        address.url = default.map(|port| address.port_url(&node.name, port));
    }
    address
}

/// Notes ports that two services want, and unmanaged services without a number.
pub(crate) fn check<'a>(
    model: &Model,
    closure: impl Iterator<Item = (&'a Name, &'a Address)>,
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
                None => problems.extend(unmanaged(model, name, index)),
            }
        }
    }
}

/// Whether one address cannot be bound beside the other.
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
        format!("`{}` and `{}` both want port {number}", first.0, second.0),
    );
    let problem = match place(model, second) {
        Some(words) => problem.at(words.span.clone(), format!("wanted by `{}`", second.0)),
        None => problem,
    };
    let problem = match place(model, first) {
        Some(words) => problem.context(words.span.clone(), format!("wanted by `{}`", first.0)),
        None => problem,
    };
    problem.hint("give one of them another number, or 0 for any free one")
}

/// The problem of a port of an unmanaged service that has no number.
fn unmanaged(model: &Model, name: &Name, port: usize) -> Option<Problem> {
    let node = model.node(name)?;
    if !matches!(node.program, Runs::External) {
        return None;
    }
    let words = place(model, (name, port))?;
    let message = format!("`{name}` is not managed, so its port needs a number");
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
