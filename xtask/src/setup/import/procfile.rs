//! A `Procfile`: `NAME: COMMAND` lines.

use toml_edit::Value;
use xtask_core::terms::words::command_list;

use super::super::proposal::{Basis, Place, Proposal, inline, list};
use super::super::workspace::Program;
use super::{Imported, program};

pub(super) fn read(file: &str, text: &str, programs: &[Program]) -> Imported {
    let mut imported = Imported::default();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':').map(|(name, command)| (name.trim(), command.trim())) {
            Some((name, command)) if !name.is_empty() && !command.is_empty() => {
                imported.proposals.push(service(name, command, &place, programs));
            }
            _ => imported.not_carried.push(format!("{place}: the line is not `NAME: COMMAND`")),
        }
    }
    imported
}

/// The service of one line.
fn service(name: &str, command: &str, place: &str, programs: &[Program]) -> Proposal {
    let stated = || Basis::Stated(place.to_owned());
    let asks_port = ["$PORT", "${PORT}"].iter().any(|form| command.contains(form));
    let (variables, command) = split_variables(command);
    let words: Vec<&str> = command.split_whitespace().collect();
    let run = cargo_run(&words, programs);
    let mut proposal = match &run {
        Some((program, _)) => {
            let manifest = program.manifest.clone();
            let mut proposal = Proposal::new(name, Place::OnlyOfPackage { manifest });
            if program.package != name {
                proposal.set("name", name, stated());
            }
            if program.bin != program.package {
                proposal.set("bin", program.bin.as_str(), stated());
            }
            proposal
        }
        None => Proposal::new(name, Place::Workspace),
    };
    match run {
        Some((_, [])) => {}
        Some((_, args)) => proposal.set("args", list(args.iter().map(|arg| text(arg))), stated()),
        None => proposal.set("command", command_of(command), stated()),
    }
    let port = variables.iter().find(|(name, _)| *name == "PORT");
    match port.and_then(|(_, value)| value.parse::<u16>().ok()) {
        Some(number) => proposal.set("port", i64::from(number), stated()),
        None if asks_port => {
            proposal.set("port", 0, Basis::Guess("the command uses `$PORT`".into()));
        }
        None => {}
    }
    let rest = variables.into_iter().filter(|(name, _)| *name != "PORT");
    let rest: Vec<(&str, Value)> = rest.map(|(name, value)| (name, text(value).into())).collect();
    if !rest.is_empty() {
        proposal.set("env", inline(rest), stated());
    }
    proposal
}

/// The variables before a command, and the command.
fn split_variables(mut command: &str) -> (Vec<(&str, &str)>, &str) {
    let mut variables = Vec::new();
    loop {
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match word.split_once('=') {
            Some((name, value)) if is_variable(name) && !value.contains(['"', '\'', '$']) => {
                variables.push((name, value));
                command = rest.trim_start();
            }
            _ => return (variables, command),
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The program and the arguments of `cargo run …`, or of a program in the target folder.
fn cargo_run<'a, 'b>(
    words: &'b [&'b str],
    programs: &'a [Program],
) -> Option<(&'a Program, &'b [&'b str])> {
    let (first, rest) = words.split_first()?;
    if first.contains("target/") {
        return Some((program(first.rsplit('/').next()?, programs)?, rest));
    }
    if *first != "cargo" || rest.first() != Some(&"run") {
        return None;
    }
    let end = rest.iter().position(|word| *word == "--").unwrap_or(rest.len());
    let args = rest.get(end + 1..).unwrap_or_default();
    let mut named = None;
    let mut words = rest[1..end].iter();
    while let Some(word) = words.next() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("-p" | "--package" | "--bin", "") => named = words.next().copied(),
            ("--package" | "--bin", name) => named = Some(name),
            ("-r" | "--release" | "-q" | "--quiet" | "--locked", "") => {}
            // Features and the like: the command stays as it is.
            _ => return None,
        }
    }
    let program = match named {
        Some(name) => program(name, programs)?,
        None => programs.first().filter(|_| programs.len() == 1)?,
    };
    Some((program, args))
}

/// A command as a list, through a shell where it needs one.
fn command_of(command: &str) -> Value {
    let own = command.replace("${PORT}", "${self.port}").replace("$PORT", "${self.port}");
    let listed: Option<Value> = command_list(&own).parse().ok();
    match listed {
        Some(value) if !value.to_string().starts_with(r#"["sh""#) => value,
        _ => list(["sh".to_owned(), "-c".to_owned(), text(command)]),
    }
}

/// A text without references to variables of a shell, which the metadata does not expand. `$PORT`
/// becomes the service's port; any other `$` is meant for a shell.
fn text(text: &str) -> String {
    let port = ["${PORT}", "$PORT"];
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out += &rest[..at];
        rest = &rest[at..];
        match port.iter().find_map(|form| rest.strip_prefix(form)) {
            Some(after) => {
                out += "${self.port}";
                rest = after;
            }
            None => {
                out += "$$";
                rest = &rest[1..];
            }
        }
    }
    out + rest
}
