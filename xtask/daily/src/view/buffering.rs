//! Proposes how a program that prints to a pipe prints each line at once.
//!
//! The C library and Python print lines at once only to a terminal. To a pipe they print when some
//! kilobytes are full, so a log probe waits for a line that the program has printed.

use xtask_core::plan::{Probe, Program, Service, Setting};
use xtask_logs::{Record, Stream};

/// The edit that mends a log probe which timed out although the program may have printed its line;
/// none if the program prints lines at once. `records` are its last lines.
pub(crate) fn hint(service: &Service, reason: &str, records: &[String]) -> Option<String> {
    let waits = |probe: &Probe| match probe {
        Probe::Log { pattern } => reason.contains(&format!("matches `{pattern}`")),
        Probe::Notify | Probe::Http { .. } | Probe::Tcp { .. } | Probe::Command { .. } => false,
    };
    let printed = records.iter().filter_map(|record| Record::parse(record.as_bytes()));
    if !service.probes.iter().any(waits) || printed.into_iter().any(|r| r.stream == Stream::Out) {
        return None;
    }
    let edit = edit(service)?;
    Some(format!("it may hold its output back, because it prints to a pipe: {edit}"))
}

fn edit(service: &Service) -> Option<String> {
    let program = match &service.program {
        Program::Command { program } => program.value.to_string(),
        Program::Image { image, .. } => image.clone(),
        // Standard output of Rust is written after each line.
        Program::Artifact { .. } | Program::External => return None,
    };
    let words = service.args.iter().map(|arg: &Setting| arg.value.to_string());
    let words: Vec<String> = std::iter::once(program).chain(words).collect();
    let runs = |name: &str| {
        words
            .iter()
            .flat_map(|word| word.split_whitespace())
            .any(|word| word.rsplit('/').next().is_some_and(|file| file.starts_with(name)))
    };
    if runs("python") || runs("uvicorn") || runs("gunicorn") || runs("flask") {
        let set = service.env.contains_key("PYTHONUNBUFFERED") || words.iter().any(|w| w == "-u");
        return (!set).then(|| "set `env = { PYTHONUNBUFFERED = \"1\" }`".to_owned());
    }
    if runs("ruby") {
        return Some("call `$stdout.sync = true` in it".to_owned());
    }
    if runs("perl") {
        return Some("set `$| = 1` in it".to_owned());
    }
    if runs("stdbuf") || ["node", "deno", "bun", "java"].iter().any(|name| runs(name)) {
        return None;
    }
    let image = matches!(service.program, Program::Image { .. });
    Some(if image {
        "let it flush its output after each line".to_owned()
    } else {
        let first = &words[0];
        format!(
            "write `command = [\"stdbuf\", \"-oL\", {first:?}, ...]`, or let it flush its output \
             after each line"
        )
    })
}

#[cfg(test)]
mod tests {
    use xtask_core::plan::{Source, Text};

    use super::*;
    use crate::sample::plan;

    fn service(command: &[&str]) -> Service {
        let setting = |word: &&str| Setting {
            value: Text::from(*word),
            source: Source::Injected,
            secret: false,
            overrides: Vec::new(),
            declared: None,
        };
        let mut service = plan(&[("a", &[])]).services.remove(0);
        service.program = Program::Command { program: setting(&command[0]) };
        service.args = command[1..].iter().map(setting).collect();
        service.probes = vec![Probe::Log { pattern: "ready".to_owned() }];
        service
    }

    #[test]
    fn silent_program_gets_the_edit_of_its_language() {
        let reason = "not ready within 2s: line that matches `ready`: nothing yet";
        for (command, edit) in [
            (&["python3", "app.py"][..], Some("PYTHONUNBUFFERED")),
            (&["sh", "-c", "exec /usr/bin/python app.py"], Some("PYTHONUNBUFFERED")),
            (&["python3", "-u", "app.py"], None),
            (&["ruby", "app.rb"], Some("$stdout.sync")),
            (&["./server", "--fast"], Some("[\"stdbuf\", \"-oL\", \"./server\", ...]")),
            (&["stdbuf", "-oL", "./server"], None),
            (&["node", "app.js"], None),
        ] {
            let hint = hint(&service(command), reason, &["t 1 e error".to_owned()]);
            let found = hint.as_deref().is_some_and(|hint| edit.is_some_and(|e| hint.contains(e)));
            assert_eq!(found, edit.is_some(), "{command:?}: {hint:?}");
            assert_eq!(hint.is_some(), edit.is_some(), "{command:?}: {hint:?}");
        }
        let python = service(&["python3", "app.py"]);
        assert_eq!(hint(&python, reason, &["t 1 o other".to_owned()]), None, "it prints lines");
        assert_eq!(hint(&python, "not ready within 2s: `READY=1`", &[]), None, "another probe");
    }
}
