//! Fills in templates: what each `${...}` stands for, seen from one service.
//!
//! A service knows only the dependencies that it declares; everything else is a
//! problem that says how to declare it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use super::Text;
use super::address::Address;
use super::request::Request;
use crate::manifest::Declarations;
use crate::manifest::TextAt;
use crate::manifest::suggest::nearest;
use crate::model::{Model, Node};
use crate::problem::{Code, Problem, Span};
use crate::terms::Name;
use crate::terms::host::bracketed;
use crate::terms::template::{Asks, Field, Part, parse};

/// What a template sees.
pub(crate) struct Scope<'a> {
    pub(crate) declarations: &'a Declarations,
    pub(crate) model: &'a Model,
    pub(crate) request: &'a Request,
    /// The addresses as the service sees them from where it runs.
    pub(crate) addresses: &'a BTreeMap<Name, Address>,
    /// The service whose template it is.
    pub(crate) node: &'a Node,
}

/// A template, filled in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    /// The text.
    pub(crate) text: Text,
    /// Whether an address of the stack is part of it.
    pub(crate) address: bool,
}

/// Where a template stands, which changes what it may name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// An argument or a variable: everything.
    Value,
    /// `url`: the service's own address as others call it, and no other service.
    Url,
    /// A path, needed before anything is bound: no ports.
    Path,
    /// An argument of `self-probe`, which an image holds wherever it runs: no ports.
    SelfProbe,
}

impl Scope<'_> {
    /// Fills in one template.
    pub(crate) fn fill(&self, words: &TextAt, used: Use, problems: &mut Vec<Problem>) -> Filled {
        let mut out = Filled::default();
        for part in parse(&words.value) {
            match part {
                Part::Literal(text) => out.text.push_str(text),
                Part::Fault { bytes, message, hint } => problems.push(
                    Problem::error(Code::BadTemplate, message)
                        .at(inside(words, &bytes), "")
                        .hint(hint),
                ),
                Part::Reference { bytes, asks } => {
                    if let Err(problem) = self.reference(asks, used, &mut out) {
                        problems.push(problem.at(inside(words, &bytes), ""));
                    }
                }
            }
        }
        out
    }

    /// Fills in a template that must be known now.
    pub(crate) fn path(&self, words: &TextAt, problems: &mut Vec<Problem>) -> String {
        self.fill(words, Use::Path, problems).text.to_string()
    }

    /// Appends what a reference stands for.
    fn reference(&self, asks: Asks<'_>, used: Use, out: &mut Filled) -> Result<(), Problem> {
        match asks {
            Asks::StackName => out.text.push_str(&self.request.stack),
            Asks::StackData => out.text.push_str(&self.request.data),
            Asks::WorkspaceRoot => out.text.push_str(&self.declarations.root),
            Asks::Variable(name) => match self.request.shell.get(name) {
                Some(value) => out.text.push_str(value),
                None => {
                    return Err(Problem::error(
                        Code::UnsetVariable,
                        format!("variable `{name}` is not set"),
                    )
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
        used: Use,
        out: &mut Filled,
    ) -> Result<(), Problem> {
        let (name, address) = self.addressed(service)?;
        out.address = true;
        if used == Use::Path {
            return Err(Problem::error(Code::BadTemplate, "a path cannot hold an address").hint(
                "use `${stack.data}`, `${stack.name}`, `${workspace.root}` or `${env.NAME}`",
            ));
        }
        if used == Use::SelfProbe {
            return Err(Problem::error(
                Code::BadTemplate,
                "`self-probe` cannot hold an address: its image is the same wherever it runs",
            )
            .hint("remove it, and let the program read its variables `HOST` and `PORT`"));
        }
        if used == Use::Url && (service.is_some() || field == Field::Url) {
            return Err(Problem::error(
                Code::BadTemplate,
                "`url` is made of the service's own host and port",
            )
            .hint("write `url = \"http://${self.host}:${self.port}\"`"));
        }
        let found = address.find(port);
        let fault = |why| address.problem(name, port, &why);
        match field {
            Field::Host => {
                let own = service.is_none() && used == Use::Value;
                let host = if own { &address.bind_host } else { &address.call_host };
                let before = out.text.to_string();
                let authority = before.ends_with("//") || before.ends_with('@');
                out.text.push_str(&if authority { bracketed(host) } else { host.clone() });
            }
            Field::Port => out.text.push_port(name.clone(), found.map_err(fault)?),
            Field::Url => match (&address.url, port) {
                (Some(url), None) => out.text.push(url),
                _ => out.text.push(&address.port_url(name, found.map_err(fault)?)),
            },
        }
        Ok(())
    }

    /// The service that a template names, if this one declares it.
    fn addressed(&self, service: Option<&str>) -> Result<(&Name, &Address), Problem> {
        let name = match service {
            None => &self.node.name,
            Some(other) if other == self.node.name.as_str() => {
                return Err(Problem::error(
                    Code::UndeclaredDependency,
                    format!("`{other}` is this service itself"),
                )
                .hint("write `self` instead of its name"));
            }
            Some(other) => match self.model.node(other) {
                Some(node) => &node.name,
                None => return Err(self.nobody(other)),
            },
        };
        let own = service.is_none();
        if !own && !self.node.edges().any(|edge| edge.to.value == *name) {
            return Err(Problem::error(
                Code::UndeclaredDependency,
                format!("`{}` does not declare that it needs `{name}`", self.node.name),
            )
            .note("a service knows only the dependencies that it declares")
            .hint(format!(
                "add `\"{name}\"` to `depends-on` of `{}` (or to `uses`, to wait for nothing)",
                self.node.name
            )));
        }
        match self.addresses.get(name) {
            Some(address) => Ok((name, address)),
            None => Err(self.nobody(name)),
        }
    }

    /// The problem of a template that names no service.
    fn nobody(&self, name: &str) -> Problem {
        let problem =
            Problem::error(Code::UnknownTemplate, format!("no service is called `{name}`"));
        crate::model::suggest(problem, name, self.model.nodes.iter().map(|node| &node.name))
    }

    /// The problem of a readable path that names nothing.
    fn unknown(&self, path: &str) -> Problem {
        let problem =
            Problem::error(Code::UnknownTemplate, format!("`${{{path}}}` stands for nothing"));
        let names: Vec<&str> = self.node.edges().map(|edge| edge.to.value.as_str()).collect();
        let fields = ["url", "host", "port"];
        let mut known: Vec<String> = Vec::new();
        for name in names.iter().copied().chain(["self"]) {
            known.extend(fields.iter().map(|field| format!("{name}.{field}")));
        }
        known.extend(["stack.name", "stack.data", "workspace.root"].map(String::from));
        match nearest(path, known.iter().map(String::as_str)) {
            Some(meant) => problem.hint(format!("did you mean `${{{meant}}}`?")),
            None if names.contains(&path) || path == "self" => {
                problem.hint(format!("write `${{{path}.url}}`"))
            }
            None if !path.contains('.') => {
                problem.hint(format!("write `${{env.{path}}}` for the variable"))
            }
            None => problem
                .note("after a service's name stands `url`, `host` or `port`")
                .hint("write `${NAME.url}`, or `$$` for a dollar"),
        }
    }
}

/// The place of some bytes of a text, where the file spells it without escapes; else
/// the place of the whole text.
fn inside(words: &TextAt, bytes: &Range<usize>) -> Span {
    let span = &words.span;
    if span.bytes.len() != words.value.len() + 2 {
        return span.clone();
    }
    let start = span.bytes.start + 1;
    Span { file: span.file.clone(), bytes: start + bytes.start..start + bytes.end }
}
