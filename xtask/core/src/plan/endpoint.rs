//! The ports, hosts and URLs of services, seen from this machine or from inside a container.
//!
//! Containers call every service of the stack by a host that is made of its name: the engine
//! resolves it to the container, or to the machine for a process.
//!
//! Every port stays a hole in a text, even a fixed one: the supervisor fills in the number
//! that was bound. Nothing here decides which number is free.

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::request::{Containers, Isolation, Ports, Request};
use super::{Port, Text};
use crate::manifest::at::{is_true, value};
use crate::model::{Model, Node, Runs};
use crate::problem::{Code, Problem, Severity, Span};
use crate::terms::host::{bracketed, callable, is_loopback, overlap};
use crate::terms::suggest::{list, nearest};
use crate::terms::{Name, Placement};

/// The ports, hosts and URL of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint {
    pub(crate) ports: Vec<Port>,
    /// The index of the default port, if there is one.
    pub(crate) default: Option<usize>,
    /// The host that it binds.
    pub(crate) bind_host: String,
    /// The host that callers use; never a wildcard.
    pub(crate) call_host: String,
    pub(crate) url: Option<Text>,
    /// Whether the program alone decides where it listens.
    pub(crate) fixed: bool,
}

/// Where a service runs.
pub(crate) fn placement(node: &Node, request: &Request) -> Placement {
    let chosen = match &request.containers {
        Containers::None => false,
        Containers::All => true,
        Containers::Named(names) => names.iter().any(|name| **name == *node.name),
    };
    match node.program {
        Runs::Image(_) => Placement::Container,
        Runs::Binary(_) if chosen => {
            value(&node.settings.placement).unwrap_or(Placement::Container)
        }
        Runs::Binary(_) | Runs::Command(_) | Runs::External | Runs::Unknown => Placement::Process,
    }
}

impl Endpoint {
    /// The index of a port by name, or of the default one; else the problem, without a place.
    pub(crate) fn find(&self, service: &Name, name: Option<&str>) -> Result<usize, Problem> {
        let names = || self.ports.iter().map(|port| port.name.as_str());
        let found = match name {
            Some(name) => names().position(|known| known == name),
            None => self.default,
        };
        if let Some(index) = found {
            return Ok(index);
        }
        let Some(first) = names().next() else {
            let port = if self.fixed {
                "the `port` that it listens on"
            } else {
                "`port = 0` (any free one)"
            };
            return Err(Problem::error(Code::NoPort, format!("`{service}` has no port"))
                .hint(format!("add {port} to service `{service}`")));
        };
        let its_ports = format!("its ports are {}", list(names()));
        let Some(name) = name else {
            let message = format!("`{service}` has several ports, and none is called `http`");
            return Err(Problem::error(Code::AmbiguousPort, message)
                .note(its_ports)
                .hint(format!("name one of them, for example `{first}`")));
        };
        let message = format!("`{service}` has no port `{name}`");
        let problem = Problem::error(Code::UnknownPort, message);
        Err(match nearest(name, names()) {
            Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
            None => problem.note(its_ports).hint("name one of them, or none for the default"),
        })
    }

    /// The address of one port.
    pub(crate) fn port_url(&self, service: &Name, port: usize) -> Text {
        if let (Some(url), true) = (&self.url, self.default == Some(port)) {
            return url.clone();
        }
        let mut text = Text::from(format!("http://{}:", bracketed(&self.call_host)));
        text.push_port(service.clone(), port);
        text
    }
}

/// The address of one service as a caller in this placement sees it, `url` not yet read.
pub(crate) fn endpoint(node: &Node, request: &Request, caller: Placement) -> Endpoint {
    let settings = &node.settings;
    let host = settings.host.as_ref().map_or("127.0.0.1", |host| &host.value);
    let external = matches!(node.program, Runs::External);
    let fixed = is_true(&settings.fixed_port);
    let free = request.isolation == Isolation::Isolated || request.ports == Ports::Auto;
    let wanted = settings.ports().map(|ports| ports.value.as_slice()).unwrap_or_default();
    let ports: Vec<Port> = wanted
        .iter()
        .map(|port| Port {
            name: port.name.value.clone(),
            host: host.to_string(),
            number: port.number.filter(|_| external || fixed || !free),
            declared: port.name.place(),
        })
        .collect();
    let http = ports.iter().position(|port| port.name == "http");
    let default = http.or((ports.len() == 1).then_some(0));
    let (bind_host, call_host) = match caller {
        Placement::Process => (host, callable(host)),
        // Another machine has the same name everywhere.
        Placement::Container if external && !is_loopback(host) => ("0.0.0.0", host.to_string()),
        Placement::Container => ("0.0.0.0", node.name.host()),
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

/// Reports ports that several services use, once each, ports that the system may use, and external
/// services without a port number. Services outside `together` are never wanted at the same time:
/// that is a warning.
pub(crate) fn check<'a>(
    model: &Model,
    request: &Request,
    taking_part: impl Iterator<Item = (&'a Name, &'a Endpoint)>,
    together: &SortedSet<Name>,
    problems: &mut Vec<Problem>,
) {
    let mut users: SortedMap<u16, Vec<User<'_>>> = SortedMap::new();
    for (name, endpoint) in taking_part {
        let Some(node) = model.node(name) else { continue };
        let wanted = node.settings.ports().into_iter().flat_map(|ports| &ports.value);
        for (wanted, port) in wanted.zip(&endpoint.ports) {
            let span = &wanted.name.span;
            if let Some(number) = port.number {
                if !matches!(node.program, Runs::External) {
                    problems.extend(outgoing(request, name, number, span));
                }
                let user = User { name: &node.name, host: port.host.clone(), span };
                users.entry(number).or_default().push(user);
            } else if matches!(node.program, Runs::External) {
                let message = format!("`{name}` is external, so its port needs a number");
                let problem = Problem::error(Code::BadValue, message).at(span.clone(), "");
                problems.push(problem.hint("write the number that it listens on"));
            }
        }
    }
    for (number, users) in &users {
        let wanted: Vec<&User<'_>> =
            users.iter().filter(|user| together.contains(user.name)).collect();
        match port_clash(*number, &clashing(&wanted)) {
            Some(clash) => problems.push(match running(request, &wanted) {
                Some(name) => {
                    let down = format!("%xtask% down --stack {} {name}", request.stack);
                    clash.hint(format!("`{down}` stops `{name}`, which runs"))
                }
                None => clash,
            }),
            None => {
                let clash = port_clash(*number, &clashing(&users.iter().collect::<Vec<_>>()));
                problems.extend(clash.map(|clash| Problem {
                    severity: Severity::Warning,
                    ..clash.note("they can run one at a time")
                }));
            }
        }
    }
}

/// A service that uses a port number.
struct User<'a> {
    name: &'a Name,
    host: String,
    span: &'a Span,
}

/// Those that share an address with another one.
fn clashing<'a>(users: &[&'a User<'a>]) -> Vec<&'a User<'a>> {
    let shared = |(index, user): &(usize, &&User<'_>)| {
        let mut others = users.iter().enumerate().filter(|(other, _)| other != index);
        others.any(|(_, other)| overlap(&user.host, &other.host))
    };
    users.iter().enumerate().filter(shared).map(|(_, user)| *user).collect()
}

/// The first one that the stack runs already, unless the services were named.
fn running<'a>(request: &Request, users: &[&User<'a>]) -> Option<&'a Name> {
    let mut names = users.iter().map(|user| user.name);
    names.find(|name| request.services.is_empty() && request.running.contains(name))
}

/// The problem of services that share a port, unless there are none.
fn port_clash(number: u16, users: &[&User<'_>]) -> Option<Problem> {
    let (first, rest) = users.split_first()?;
    let (second, more) = rest.split_first()?;
    let message = match more {
        [] => format!("`{}` and `{}` both use port {number}", first.name, second.name),
        _ => {
            let names = list(users.iter().map(|user| user.name.as_str()));
            format!("{names} all use port {number}")
        }
    };
    let used = |user: &User<'_>| (user.span.clone(), format!("used by `{}`", user.name));
    let (span, text) = used(second);
    let problem = Problem::error(Code::PortClash, message).at(span, text);
    let others = core::iter::once(first).chain(more);
    let problem = others.fold(problem, |problem, user| {
        let (span, text) = used(user);
        problem.context(span, text)
    });
    Some(problem.hint("give one of them another number, or 0 for any free one"))
}

/// The warning about a port that the system may give to an outgoing connection.
fn outgoing(request: &Request, name: &Name, number: u16, place: &Span) -> Option<Problem> {
    let range = request.outgoing_ports.iter().find(|range| range.contains(&number))?;
    let (first, last) = (range.start(), range.end());
    let message = format!(
        "port {number} of `{name}` is in the range {first} to {last}, from which the system takes \
         ports for outgoing connections"
    );
    let problem = Problem::warning(Code::PortClash, message).at(place.clone(), "");
    Some(problem.hint(format!(
        "declare a port below {first}, or reserve this one: \
         `sysctl net.ipv4.ip_local_reserved_ports={number}`"
    )))
}
