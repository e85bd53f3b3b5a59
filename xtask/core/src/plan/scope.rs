//! Replaces each `${...}` by its value, seen from one service.
//!
//! A template may refer only to the dependencies that its service declares. The problem of
//! any other reference names the way to declare it.

use crate::sorted::SortedMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Text;
use super::endpoint::Endpoint;
use super::request::Request;
use crate::manifest::{Declarations, TextAt};
use crate::model::{Model, Node};
use crate::problem::{Code, Problem};
use crate::terms::Name;
use crate::terms::host::bracketed;
use crate::terms::suggest::nearest;
use crate::terms::template::{Asks, Field, Part, parse};

/// What a template sees.
pub(crate) struct Scope<'a> {
    pub(crate) declarations: &'a Declarations,
    pub(crate) model: &'a Model,
    pub(crate) request: &'a Request,
    /// The addresses as the service sees them from where it runs.
    pub(crate) addresses: &'a SortedMap<Name, Endpoint>,
    pub(crate) node: &'a Node,
}

/// A template, filled in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    pub(crate) text: Text,
    /// Whether it contains an address of the stack.
    pub(crate) address: bool,
    /// Whether it contains the stack's name, data folder or secret.
    pub(crate) own: bool,
}

/// The kind of setting that holds a template, which limits what it may refer to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// An argument or a variable: everything.
    Value,
    /// `url`: the service's own address as others call it, and no other service.
    Url,
    /// A path, needed before any port is bound: no addresses.
    Path,
    /// An argument of `self-probe`, which is part of an image: no addresses.
    SelfProbe,
}

impl Scope<'_> {
    /// Fills in one template.
    pub(crate) fn fill(&self, words: &TextAt, used: Slot, problems: &mut Vec<Problem>) -> Filled {
        let mut out = Filled::default();
        for part in parse(&words.value) {
            match part {
                Part::Literal(text) => out.text.push_str(text),
                Part::Fault { bytes, message, hint } => problems.push(
                    Problem::error(Code::BadTemplate, message)
                        .at(self.declarations.inside(words, &bytes), "")
                        .hint(hint),
                ),
                Part::Reference { bytes, asks } => {
                    if let Err(problem) = self.reference(asks, used, &mut out) {
                        problems.push(problem.at(self.declarations.inside(words, &bytes), ""));
                    }
                }
            }
        }
        out
    }

    /// Whether a text contains the stack's secret.
    pub(crate) fn has_secret(&self, text: &str) -> bool {
        let secret = &self.request.secret;
        !secret.is_empty() && text.contains(secret.as_str())
    }

    /// Fills in a template that may not refer to ports.
    pub(crate) fn path(&self, words: &TextAt, problems: &mut Vec<Problem>) -> String {
        self.fill(words, Slot::Path, problems).text.to_string()
    }

    /// The problem of an argument or variable that is too long for a program on this machine,
    /// without its place.
    pub(crate) fn too_long(&self, what: &str, bytes: usize) -> Option<Problem> {
        // The system counts a final NUL.
        let bytes = bytes + 1;
        let limit = self.request.longest_text.filter(|limit| bytes > *limit)?;
        let message =
            format!("{what} has {bytes} bytes, and the system passes at most {limit} to a program");
        let hint = "put the value into a file, and pass the path of the file";
        Some(Problem::error(Code::BadValue, message).hint(hint))
    }

    fn reference(&self, asks: Asks<'_>, used: Slot, out: &mut Filled) -> Result<(), Problem> {
        match asks {
            Asks::StackName => {
                out.own = true;
                out.text.push_str(&self.request.stack);
            }
            Asks::StackData => {
                out.own = true;
                out.text.push_str(&self.request.data);
            }
            Asks::StackSecret => {
                if matches!(used, Slot::Path | Slot::SelfProbe) {
                    let message = "a path or an image cannot contain the stack's secret";
                    return Err(
                        Problem::error(Code::BadTemplate, message).hint("hand it over in `env`")
                    );
                }
                out.own = true;
                out.text.push_str(&self.request.secret);
            }
            Asks::WorkspaceRoot => out.text.push_str(&self.declarations.root),
            Asks::Variable(name) => match self.request.shell.get(name) {
                Some(value) => out.text.push_str(value),
                None => {
                    let message = format!("variable `{name}` is not set");
                    return Err(Problem::error(Code::UnsetVariable, message)
                        .hint(format!("set it: `export {name}=...`")));
                }
            },
            Asks::Unknown(path) => return Err(self.unknown(path)),
            Asks::Of { service, field, port } => {
                return self.of(service, field, port, used, out);
            }
        }
        Ok(())
    }

    /// Appends a part of an address.
    fn of(
        &self,
        service: Option<&str>,
        field: Field,
        port: Option<&str>,
        used: Slot,
        out: &mut Filled,
    ) -> Result<(), Problem> {
        let (name, address) = self.addressed(service)?;
        out.address = true;
        let forbidden = match used {
            Slot::Path => Some((
                "a path cannot contain an address",
                "use `${stack.data}`, `${stack.name}`, `${workspace.root}` or `${env.NAME}`",
            )),
            Slot::SelfProbe => Some((
                "`self-probe` cannot contain an address: its image is the same everywhere",
                "remove it, and let the program read its variables `HOST` and `PORT`",
            )),
            Slot::Url if service.is_some() || field == Field::Url => Some((
                "`url` may refer only to the service's own host and port",
                "write `url = \"http://${self.host}:${self.port}\"`",
            )),
            Slot::Url | Slot::Value => None,
        };
        if let Some((message, hint)) = forbidden {
            return Err(Problem::error(Code::BadTemplate, message).hint(hint));
        }
        match field {
            Field::Host => {
                let own = service.is_none() && used == Slot::Value;
                let host = if own { &address.bind_host } else { &address.call_host };
                let before = out.text.to_string();
                let authority = before.ends_with("//") || before.ends_with('@');
                out.text.push_str(&if authority { bracketed(host) } else { host.clone() });
            }
            Field::Port => out.text.push_port(name.clone(), address.find(name, port)?),
            Field::Url => match (&address.url, port) {
                (Some(url), None) => out.text.push(url),
                _ => out.text.push(&address.port_url(name, address.find(name, port)?)),
            },
        }
        Ok(())
    }

    /// The service that a template names, if this one declares it.
    fn addressed(&self, service: Option<&str>) -> Result<(&Name, &Endpoint), Problem> {
        let undeclared = |message| Problem::error(Code::UndeclaredDependency, message);
        let own = &self.node.name;
        let name = match service {
            None => own,
            Some(other) if other == own.as_str() => {
                return Err(undeclared(format!("`{other}` is this service itself"))
                    .hint("write `self` instead of its name"));
            }
            Some(other) => match self.model.node(other) {
                Some(node) => &node.name,
                None => return Err(self.no_service(other)),
            },
        };
        if service.is_some() && !self.node.edges().any(|edge| edge.to.value == *name) {
            let hint = format!(
                "add `\"{name}\"` to `depends-on` of `{own}`, or to `uses` to start without waiting"
            );
            return Err(undeclared(format!("`{own}` does not declare a dependency on `{name}`"))
                .note("a value may refer only to declared dependencies")
                .hint(hint));
        }
        match self.addresses.get(name) {
            Some(address) => Ok((name, address)),
            None => Err(self.no_service(name)),
        }
    }

    /// The problem of a template that names no service.
    fn no_service(&self, name: &str) -> Problem {
        let message = format!("no service is called `{name}`");
        let problem = Problem::error(Code::UnknownTemplate, message);
        crate::model::suggest(problem, name, self.model.nodes.iter().map(|node| &node.name))
    }

    /// The problem of a well-formed path that names nothing known.
    fn unknown(&self, path: &str) -> Problem {
        let message = format!("unknown reference `${{{path}}}`");
        let problem = Problem::error(Code::UnknownTemplate, message);
        let names: Vec<&str> = self.node.edges().map(|edge| edge.to.value.as_str()).collect();
        let mut known = Vec::from(
            ["stack.name", "stack.data", "stack.secret", "workspace.root"].map(String::from),
        );
        for name in names.iter().copied().chain(["self"]) {
            known.extend(["url", "host", "port"].map(|field| format!("{name}.{field}")));
        }
        match nearest(path, known.iter().map(String::as_str)) {
            Some(meant) => problem.hint(format!("did you mean `${{{meant}}}`?")),
            None if names.contains(&path) || path == "self" => {
                problem.hint(format!("write `${{{path}.url}}`"))
            }
            None if !path.contains('.') => problem.hint(format!(
                "write `${{env.{path}}}` for the variable, or `$${{{path}}}` to leave it to a shell"
            )),
            None => problem
                .note("a service has `url`, `host` and `port`")
                .hint("write `${NAME.url}`, or `$$` for a dollar"),
        }
    }
}
