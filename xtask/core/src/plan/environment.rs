//! The variables of one service, and which source wins.
//!
//! Low to high: injected addresses, the workspace's `env`, the service's, its env-file, its
//! `deploy.env` in an export, the caller's shell, `-e` for all, `-e` for this service. A fixed
//! value of the metadata never beats an injected address. The shell wins in the default stack
//! only, and never over a value that depends on the stack or over a variable that every shell has.

use crate::sorted::SortedMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::flags::Variable;
use super::make::{Files, Unreadable};
use super::request::Isolation;
use super::scope::{Scope, Slot};
use super::{Setting, Source, Text, envfile};
use crate::manifest::At;
use crate::manifest::TextAt;
use crate::manifest::at::span;
use crate::problem::{Code, Problem};
use crate::terms::{MARK_VARIABLE, Name, Place, secret, variable_mistake, variable_prefix};

/// A value of a variable, with its source.
enum Given<'a> {
    /// The tool: an address of the stack.
    Injected(Text),
    /// A manifest: a template.
    Template(&'a TextAt),
    /// An env-file: literal.
    Literal(String, Place),
    /// `-e`: literal.
    Flag(&'a Variable),
}

impl Given<'_> {
    fn source(&self) -> Source {
        match self {
            Given::Injected(_) => Source::Injected,
            Given::Template(words) => Source::File { place: words.place() },
            Given::Literal(_, place) => Source::File { place: place.clone() },
            Given::Flag(variable) => Source::Flag { flag: variable.shown.clone() },
        }
    }
}

/// The variables of one service, and the names among them that the shell overrides.
pub(crate) fn variables(
    scope: &Scope<'_>,
    flags: &[Variable],
    files: Files<'_>,
    problems: &mut Vec<Problem>,
) -> (SortedMap<String, Setting>, Vec<String>) {
    let node = scope.node;
    let mut given: SortedMap<String, Vec<Given<'_>>> = SortedMap::new();
    for (name, text) in injected(scope, problems) {
        given.entry(name).or_default().push(Given::Injected(text));
    }
    for (name, value) in scope.declarations.env.iter().chain(&node.settings.env) {
        given.entry(name.value.clone()).or_default().push(Given::Template(value));
    }
    for file in node.settings.env_file.iter().flat_map(|files| &files.value) {
        for (line, place) in env_file(scope, file, files, problems) {
            let literal = Given::Literal(line.value, place);
            given.entry(line.name).or_default().push(literal);
        }
    }
    if scope.request.isolation == Isolation::Elsewhere {
        for (name, value) in &node.settings.deploy.env {
            given.entry(name.value.clone()).or_default().push(Given::Template(value));
        }
    }
    let for_it = flags.iter().filter(|flag| flag.is_for(&node.name));
    // `-e SERVICE:KEY=VALUE` wins over `-e KEY=VALUE` at any position of the command line.
    let (for_all, for_it): (Vec<_>, Vec<_>) = for_it.partition(|flag| flag.is_for_all());
    for flag in for_all.into_iter().chain(for_it) {
        given.entry(flag.name.clone()).or_default().push(Given::Flag(flag));
    }
    let mut overridden = Vec::new();
    let settings = given
        .into_iter()
        .map(|(name, given)| {
            let (setting, by_shell) = decide(scope, &name, &given, problems);
            if by_shell {
                overridden.push(name.clone());
            }
            (name, setting)
        })
        .collect();
    (settings, overridden)
}

/// The value that wins, and whether it is the shell's.
fn decide(
    scope: &Scope<'_>,
    name: &str,
    given: &[Given<'_>],
    problems: &mut Vec<Problem>,
) -> (Setting, bool) {
    // Every template of the metadata is checked, even if another source wins.
    let mut found = Vec::new();
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for given in given {
        let mut faults = Vec::new();
        let (text, bound) = match given {
            Given::Injected(text) => (text.clone(), true),
            Given::Template(words) => {
                let filled = scope.fill(words, Slot::Value, &mut faults);
                (filled.text, filled.address || filled.own)
            }
            Given::Literal(text, _) => (Text::from(text.as_str()), false),
            Given::Flag(flag) => (Text::from(flag.value.as_str()), true),
        };
        found = faults;
        candidates.push(Candidate { given, text, bound });
    }
    // A fixed value in `env` or an env-file would lead an isolated stack to another one.
    let injected = candidates.iter().any(|c| matches!(c.given, Given::Injected(_)));
    if injected {
        for ignored in candidates.iter().filter(|candidate| !candidate.bound) {
            problems.push(ignored_address(scope, name, ignored.given));
        }
        candidates.retain(|candidate| candidate.bound);
    }
    let winner = candidates.pop();
    let overrides: Vec<Source> = candidates.iter().rev().map(|c| c.given.source()).collect();
    let is_bound = injected || winner.as_ref().is_none_or(|winner| winner.bound);
    let may_override = scope.request.isolation == Isolation::Shared
        && !is_bound
        && !EVERY_SHELL.contains(&name)
        && !name.starts_with("LC_");
    let may_override = may_override && winner.is_some();
    let shell = scope.request.shell.get(name).filter(|_| may_override);
    let differs = |text: &Text| shell.is_some_and(|shell| text.to_string() != *shell);
    let is_overridden = winner.as_ref().is_some_and(|winner| differs(&winner.text));
    if is_overridden || !matches!(given.last(), Some(Given::Template(_))) {
        found.retain(|problem| problem.code != Code::UnsetVariable);
    }
    problems.append(&mut found);
    let place = match winner.as_ref().map(|winner| winner.given) {
        Some(Given::Template(words)) if shell.is_none() => &words.span,
        Some(Given::Literal(..)) if shell.is_none() => {
            span(&scope.node.settings.env_file).unwrap_or(&scope.node.declared.span)
        }
        _ => &scope.node.declared.span,
    };
    // An address of the stack is no secret, even of a service that is called `auth`.
    let is_address = injected
        || winner.as_ref().is_some_and(|w| w.bound && matches!(w.given, Given::Template(_)));
    let (value, source) =
        winner.map_or((Text::default(), Source::Injected), |w| (w.text, w.given.source()));
    let declared = may_override.then(|| value.clone());
    let mut setting = Setting { value, source, secret: false, overrides, declared };
    setting.resolve(shell.map(String::as_str));
    let lists = |names: &[TextAt]| names.iter().any(|listed| listed.value == name);
    let settings = &scope.node.settings;
    let text = setting.value.to_string();
    let what = match &setting.source {
        Source::File { place } => format!("variable `{name}` at `{place}`"),
        Source::Shell => format!("variable `{name}` of the shell"),
        Source::Flag { .. } | Source::Injected => format!("variable `{name}`"),
    };
    let too_long = scope.too_long(&what, name.len() + 1 + text.len());
    problems.extend(too_long.map(|problem| problem.at(place.clone(), "")));
    let looks_secret = match is_address {
        true => secret::has_password(&text),
        false => secret::variable(name, &text),
    } || scope.has_secret(&text);
    setting.secret = !lists(&settings.not_secret) && (lists(&settings.secrets) || looks_secret);
    (setting, is_overridden)
}

/// Variables that every login shell sets, so that a shell's value says nothing about the service.
const EVERY_SHELL: [&str; 9] =
    ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// A value that may win.
struct Candidate<'a> {
    given: &'a Given<'a>,
    text: Text,
    /// Whether the value follows the stack or was typed for this start: it beats an injected
    /// address, and the shell does not beat it.
    bound: bool,
}

/// The warning about a fixed value for a variable that holds an address of the stack.
fn ignored_address(scope: &Scope<'_>, name: &str, given: &Given<'_>) -> Problem {
    let place = match given.source() {
        Source::File { place } => place.to_string(),
        _ => String::new(),
    };
    let message = format!("`{name}` at `{place}` has no effect: the stack sets this address");
    let problem = Problem::warning(Code::IgnoredValue, message)
        .hint(format!("remove it, or pass `-e {}:{name}=VALUE` for one start", scope.node.name));
    match (given, &scope.node.settings.env_file) {
        (Given::Template(words), _) => problem.at(words.span.clone(), ""),
        (_, Some(file)) => problem.at(file.span.clone(), ""),
        _ => problem,
    }
}

/// The addresses that a service receives: those of its dependencies and its own.
fn injected(scope: &Scope<'_>, problems: &mut Vec<Problem>) -> SortedMap<String, Text> {
    let mut out = SortedMap::new();
    let mut by: SortedMap<String, &At<Name>> = SortedMap::new();
    let mut clashing: Vec<(&Name, &Name)> = Vec::new();
    let node = scope.node;
    let own = node.declared.with(node.name.clone());
    for edge in core::iter::once(&own).chain(node.edges().map(|edge| &edge.to)) {
        for (name, text) in variables_about(scope, edge) {
            // The model reports two ports of one service.
            if let Some(first) = by.get(&name).filter(|first| first.value != edge.value)
                && !clashing.contains(&(&first.value, &edge.value))
            {
                problems.push(clash(&name, first, edge));
                clashing.push((&first.value, &edge.value));
            }
            by.insert(name.clone(), edge);
            out.insert(name, text);
        }
    }
    out
}

/// The variables about one service, in the environment of another or of itself.
fn variables_about(scope: &Scope<'_>, of: &At<Name>) -> Vec<(String, Text)> {
    let Some(address) = scope.addresses.get(&of.value) else { return Vec::new() };
    let itself = of.value == scope.node.name;
    let prefix = if itself { String::new() } else { format!("{}_", of.value.variable_prefix()) };
    let port = |index| {
        let mut text = Text::default();
        text.push_port(of.value.clone(), index);
        text
    };
    let mut out = Vec::new();
    if let (Some(url), false) = (&address.url, itself) {
        out.push((format!("{prefix}URL"), url.clone()));
    }
    if !address.ports.is_empty() {
        let host = if itself { &address.bind_host } else { &address.call_host };
        out.push((format!("{prefix}HOST"), Text::from(host.as_str())));
    }
    if let Some(index) = address.default {
        out.push((format!("{prefix}PORT"), port(index)));
    }
    if address.ports.len() > 1 {
        for (index, declared) in address.ports.iter().enumerate() {
            let name = variable_prefix(&declared.name);
            out.push((format!("{prefix}{name}_PORT"), port(index)));
            if !itself {
                out.push((format!("{prefix}{name}_URL"), address.port_url(&of.value, index)));
            }
        }
    }
    out
}

fn clash(variable: &str, first: &At<Name>, second: &At<Name>) -> Problem {
    let what = |name: &Name| format!("`{name}` sets `{variable}`");
    Problem::error(
        Code::VariableClash,
        format!("`{}` and `{}` both set the variable `{variable}`", first.value, second.value),
    )
    .at(second.span.clone(), what(&second.value))
    .context(first.span.clone(), what(&first.value))
    .hint("rename one of the services, or one of the ports")
}

/// The lines of a service's env-file.
fn env_file(
    scope: &Scope<'_>,
    file: &TextAt,
    files: Files<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<(envfile::Assignment, Place)> {
    let mut found = Vec::new();
    let path = scope.path(file, &mut found);
    // As systemd marks such a file.
    let (path, may_be_missing) = match path.strip_prefix('-') {
        Some(path) => (path, true),
        None => (&*path, false),
    };
    let path = super::paths::join(&scope.node.folder, path);
    if !found.is_empty() {
        problems.append(&mut found);
        return Vec::new();
    }
    let text = match files(&path) {
        Ok(text) => text,
        Err(Unreadable::Missing) if may_be_missing => return Vec::new(),
        Err(error) => {
            let shown = file.value.trim_start_matches('-');
            let hint = match &error {
                Unreadable::Missing => {
                    format!("create `{shown}`, or write `\"-{shown}\"` if it may be missing")
                }
                Unreadable::NotAFile | Unreadable::TooLong(_) => {
                    format!("name a text file in `env-file`, not `{shown}`")
                }
                Unreadable::Encoding(encoding) => {
                    let from = encoding.unwrap_or("ISO-8859-1");
                    format!("convert it: `iconv -f {from} -t UTF-8 {shown}`")
                }
                Unreadable::System(_) => format!("make `{shown}` readable for your user"),
            };
            problems.push(
                Problem::error(Code::EnvFile, format!("failed to read `{shown}`: {error}"))
                    .at(file.span.clone(), "")
                    .hint(hint),
            );
            return Vec::new();
        }
    };
    let shown = super::paths::relative(&scope.declarations.root, &path);
    let (lines, bad) = envfile::parse(&text);
    for bad in bad {
        // The line is not shown, since its value may be secret.
        let name = bad.name.map(|name| format!(" (`{name}`)")).unwrap_or_default();
        let message = format!("failed to read `{shown}:{}`{name}: {}", bad.number, bad.why);
        problems.push(
            Problem::error(Code::EnvFile, message)
                .at(file.span.clone(), "")
                .hint("write `NAME=VALUE`, with quotes around line ends and ` #`"),
        );
    }
    for line in lines.iter().filter(|line| line.name == MARK_VARIABLE) {
        let (mistake, hint) = variable_mistake(&line.name).unwrap_or_default();
        let message = format!("`{}` in `{shown}:{}` {mistake}", line.name, line.number);
        problems.push(Problem::error(Code::EnvFile, message).at(file.span.clone(), "").hint(hint));
    }
    let place = |line: &envfile::Assignment| Place { file: shown.clone(), line: line.number };
    lines.into_iter().map(|line| (place(&line), line)).map(|(place, line)| (line, place)).collect()
}
