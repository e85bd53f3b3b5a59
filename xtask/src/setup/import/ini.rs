//! A `dependencies.ini`: one section a service, with `host`, `port` and `preload`.

use super::super::proposal::{Basis, Place, Proposal, list};
use super::super::workspace::Program;
use super::{Error, Imported, program};

pub(super) fn read(file: &str, text: &str, programs: &[Program]) -> Result<Imported, Error> {
    let mut imported = Imported::default();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        let wrong = |what: &str| Error::Syntax {
            file: file.to_owned(),
            message: format!("line {}: {what}", number + 1),
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| wrong("a `]` is missing"))?.trim();
            imported.proposals.push(section(name, &place, programs));
            continue;
        }
        let (key, value) = line.split_once(['=', ':']).ok_or_else(|| wrong("no `KEY = VALUE`"))?;
        let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'']));
        let Some(proposal) = imported.proposals.last_mut() else {
            return Err(wrong("the key is before the first section"));
        };
        let stated = Basis::Stated(place.clone());
        match key {
            "port" => {
                let number: u16 = value.parse().map_err(|_| wrong("the port is not a number"))?;
                proposal.set("port", i64::from(number), stated);
            }
            "preload" => {
                let names = value.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty());
                proposal.set("depends-on", list(names), stated);
            }
            // The loopback address is the default.
            "host" if matches!(value, "localhost" | "127.0.0.1") => {}
            "host" => proposal.set("host", value, stated),
            _ => imported.not_carried.push(format!("{place}: `{key}` has no key in the metadata")),
        }
    }
    Ok(imported)
}

fn section(name: &str, place: &str, programs: &[Program]) -> Proposal {
    let Some(program) = program(name, programs) else {
        let mut proposal = Proposal::new(name, Place::Workspace);
        let reason = "no program of the workspace has its name: give `command` or `image` instead";
        proposal.set("external", true, Basis::Guess(reason.into()));
        return proposal;
    };
    let manifest = program.manifest.clone();
    let mut proposal = Proposal::new(name, Place::OnlyOfPackage { manifest });
    if program.package != name {
        proposal.set("name", name, Basis::Stated(place.to_owned()));
    }
    proposal
}
