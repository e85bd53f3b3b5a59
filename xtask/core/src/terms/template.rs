//! Parses `${...}` in text.
//!
//! It finds the references and what they ask for. The plan replaces them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Literal text.
    Literal(&'a str),
    /// `${...}`.
    Reference {
        /// Its bytes in the text, braces included.
        bytes: Range<usize>,
        /// What it asks for.
        asks: Asks<'a>,
    },
    /// A malformed reference.
    Fault {
        /// Its bytes in the text.
        bytes: Range<usize>,
        /// What is wrong.
        message: String,
        /// How to correct it.
        hint: String,
    },
}

/// What a reference asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks<'a> {
    /// `stack.name`.
    StackName,
    /// `stack.data`.
    StackData,
    /// `stack.secret`.
    StackSecret,
    /// `workspace.root`.
    WorkspaceRoot,
    /// `env.NAME`.
    Variable(&'a str),
    /// Something about a service.
    Of {
        /// The service, none for `self`.
        service: Option<&'a str>,
        /// Which part of its address.
        field: Field,
        /// The name of the port, if given.
        port: Option<&'a str>,
    },
    /// A well-formed path that names nothing known.
    Unknown(&'a str),
}

/// A part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `url`.
    Url,
    /// `host`.
    Host,
    /// `port`.
    Port,
}

/// Splits a template into its parts.
#[must_use]
pub fn parse(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut literal = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        let dollar = at + found;
        if dollar > literal {
            parts.push(Part::Literal(&text[literal..dollar]));
        }
        let rest = &text[dollar + 1..];
        let (part, end) = if rest.starts_with('$') {
            (Part::Literal(&text[dollar..=dollar]), dollar + 2)
        } else if let Some(inside) = rest.strip_prefix('{') {
            braces(inside, dollar)
        } else {
            lone_dollar(rest, dollar)
        };
        parts.push(part);
        (literal, at) = (end, end);
    }
    if literal < text.len() {
        parts.push(Part::Literal(&text[literal..]));
    }
    parts
}

/// What follows `${`, and where it ends.
fn braces(inside: &str, dollar: usize) -> (Part<'_>, usize) {
    let Some(close) = inside.find('}') else {
        let bytes = dollar..dollar + 2 + inside.len();
        let end = bytes.end;
        let hint = "add `}`, or write `$$` for a dollar".to_string();
        return (Part::Fault { bytes, message: "`${` without `}`".to_string(), hint }, end);
    };
    let end = dollar + 2 + close + 1;
    let bytes = dollar..end;
    let path = &inside[..close];
    let readable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if path.is_empty() || !path.chars().all(readable) || path.split('.').any(str::is_empty) {
        let message = format!("`${{{path}}}` is not a valid reference");
        let hint = format!(
            "write `$${{{path}}}` to leave it to a shell, or `${{NAME.url}}` for an address"
        );
        return (Part::Fault { bytes, message, hint }, end);
    }
    (Part::Reference { bytes, asks: asks(path) }, end)
}

/// A dollar before anything other than `{` and `$`.
fn lone_dollar(rest: &str, dollar: usize) -> (Part<'_>, usize) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = &rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())];
    let end = dollar + 1 + name.len();
    let (message, hint) = if name.is_empty() {
        ("a single `$`".to_string(), "write `$$` for a dollar".to_string())
    } else {
        (
            format!("`${name}` is not a reference"),
            format!("write `${{env.{name}}}` for the variable, or `$${name}` for this text"),
        )
    };
    (Part::Fault { bytes: dollar..end, message, hint }, end)
}

/// What a readable path asks for.
fn asks(path: &str) -> Asks<'_> {
    let words: Vec<&str> = path.split('.').collect();
    match words.as_slice() {
        ["stack", "name"] => Asks::StackName,
        ["stack", "data"] => Asks::StackData,
        ["stack", "secret"] => Asks::StackSecret,
        ["workspace", "root"] => Asks::WorkspaceRoot,
        ["env", name] => Asks::Variable(name),
        ["stack" | "workspace" | "env", ..] | [] | [_] => Asks::Unknown(path),
        [service, field, port @ ..] if port.len() <= 1 => {
            let field = match *field {
                "url" => Field::Url,
                "host" if port.is_empty() => Field::Host,
                "port" => Field::Port,
                _ => return Asks::Unknown(path),
            };
            let service = (*service != "self").then_some(*service);
            Asks::Of { service, field, port: port.first().copied() }
        }
        _ => Asks::Unknown(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Vec<Asks<'_>> {
        parse(text)
            .into_iter()
            .filter_map(|part| match part {
                Part::Reference { asks, .. } => Some(asks),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn text_splits_into_references_and_literals() {
        let parts = parse("a${stack.name}b$$c");
        assert_eq!(
            parts,
            [
                Part::Literal("a"),
                Part::Reference { bytes: 1..14, asks: Asks::StackName },
                Part::Literal("b"),
                Part::Literal("$"),
                Part::Literal("c"),
            ]
        );
    }

    #[test]
    fn reference_may_name_a_port() {
        let of = |service, field, port| Asks::Of { service, field, port };
        assert_eq!(asked("${api.url}"), [of(Some("api"), Field::Url, None)]);
        assert_eq!(asked("${self.port.metrics}"), [of(None, Field::Port, Some("metrics"))]);
        assert_eq!(asked("${api.host.x}"), [Asks::Unknown("api.host.x")]);
        assert_eq!(asked("${HOME}"), [Asks::Unknown("HOME")]);
    }

    #[test]
    fn every_malformed_reference_is_found() {
        let faults = parse("$HOME ${} ${a b} $ ${x")
            .into_iter()
            .filter(|part| matches!(part, Part::Fault { .. }))
            .count();
        assert_eq!(faults, 5);
    }
}
