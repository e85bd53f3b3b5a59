//! `init`: proposes metadata for the programs of a workspace that look like services.
//!
//! A value comes from a place that states it, or it is a guess with a reason. Programs without a
//! sign of a listener are named and left out.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use toml_edit::Value;

use self::sources::{Findings, Found, files_of};
use super::import::compose::{self, Compose};
use super::proposal::{Basis, Place, Proposal, inline, list};
use super::workspace::Program;

/// What `init` found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) proposals: Vec<Proposal>,
    /// Programs that are not proposed, each with the reason.
    pub(crate) left_out: Vec<(String, String)>,
    /// Facts that the user should know, one sentence each.
    pub(crate) notes: Vec<String>,
}

/// A program that listens, with what was found about it.
struct Candidate<'a> {
    program: &'a Program,
    name: String,
    findings: Findings,
    dotenv: BTreeMap<String, Found<String>>,
    port: Option<Found<u16>>,
}

/// How the address of a dependency gets into a variable, by the end of the variable's name.
const ADDRESSES: [(&str, &str); 8] = [
    ("_BASE_URL", "url"),
    ("_URL", "url"),
    ("_URI", "url"),
    ("_ENDPOINT", "url"),
    ("_ADDRESS", "host:port"),
    ("_ADDR", "host:port"),
    ("_HOST", "host"),
    ("_PORT", "port"),
];

/// Servers that programs call and no program of a workspace is, by their usual ports.
const SERVERS: [(u16, &str); 8] = [
    (3306, "MySQL"),
    (4222, "NATS"),
    (5432, "PostgreSQL"),
    (5672, "RabbitMQ"),
    (6379, "Redis"),
    (9000, "an object store"),
    (9092, "Kafka"),
    (27017, "MongoDB"),
];

/// Proposes metadata for the programs of the workspace at `root`.
pub(crate) fn propose(root: &Path, programs: &[Program]) -> Outcome {
    let mut outcome = Outcome::default();
    let compose = compose::beside(root);
    let mut candidates = Vec::new();
    for program in programs {
        let findings = Findings::of(root, &files_of(&program.main));
        if findings.listeners.is_empty() && findings.inherits_sockets.is_none() {
            let reason = "its sources show no listener";
            outcome.left_out.push((program.bin.clone(), reason.to_owned()));
            continue;
        }
        candidates.push(candidate(root, program, findings, compose.as_ref()));
    }
    name(&mut candidates);
    let mut edges = BTreeSet::new();
    for at in 0..candidates.len() {
        let proposal = proposal(at, &candidates, compose.as_ref(), &mut edges, &mut outcome.notes);
        outcome.proposals.push(proposal);
    }
    if let Some(compose) = &compose {
        let own = |name: &String| candidates.iter().any(|candidate| is_named(candidate, name));
        let others: Vec<_> = compose.services.keys().filter(|name| !own(name)).cloned().collect();
        if !others.is_empty() {
            outcome.notes.push(format!(
                "`{}` has more services ({}): `import {}` proposes them",
                compose.file,
                others.join(", "),
                compose.file
            ));
        }
    }
    outcome.notes.sort();
    outcome.notes.dedup();
    outcome
}

fn candidate<'a>(
    root: &Path,
    program: &'a Program,
    findings: Findings,
    compose: Option<&Compose>,
) -> Candidate<'a> {
    let folder = root.join(&program.manifest).parent().unwrap_or(root).to_path_buf();
    let dotenv = dotenv(root, &folder);
    let stated = |name: &str| {
        let found: &Found<String> = dotenv.get(name)?;
        Some(Found { value: found.value.parse().ok()?, place: found.place.clone() })
    };
    let mut candidate = Candidate {
        program,
        name: program.package.clone(),
        findings,
        dotenv: BTreeMap::new(),
        port: None,
    };
    candidate.port =
        stated("PORT").or_else(|| candidate.findings.ports.first().cloned()).or_else(|| {
            let (compose, service) = compose.and_then(|c| Some((c, service_of(&candidate, c)?)))?;
            let value = *service.ports.first()?;
            Some(Found { value, place: compose.file.clone() })
        });
    candidate.dotenv = dotenv;
    candidate
}

/// Names each candidate: after its package, or after its binary where a package has several.
fn name(candidates: &mut [Candidate<'_>]) {
    let mut programs = BTreeMap::new();
    for candidate in &*candidates {
        *programs.entry(candidate.program.package.clone()).or_insert(0) += 1;
    }
    for candidate in candidates {
        if programs[&candidate.program.package] > 1 {
            candidate.name.clone_from(&candidate.program.bin);
        }
    }
}

fn proposal(
    at: usize,
    candidates: &[Candidate<'_>],
    compose: Option<&Compose>,
    edges: &mut BTreeSet<(String, String)>,
    notes: &mut Vec<String>,
) -> Proposal {
    let own = &candidates[at];
    let manifest = own.program.manifest.clone();
    let is_one_of_several =
        candidates.iter().filter(|other| other.program.package == own.program.package).count() > 1;
    let place = match is_one_of_several {
        true => Place::OneOfPackage { manifest },
        false => Place::OnlyOfPackage { manifest },
    };
    let mut proposal = Proposal::new(&own.name, place);
    if is_one_of_several {
        let basis = Basis::Stated(own.program.manifest.display().to_string());
        proposal.set("bin", own.program.bin.as_str(), basis);
    }
    let mut env = BTreeMap::new();
    port(own, candidates, &mut proposal, &mut env);
    if let Some(found) = &own.findings.inherits_sockets {
        proposal.set("socket-activation", true, Basis::Stated(found.place.clone()));
    }
    ready(own, &mut proposal);
    let dependencies = dependencies(own, candidates, compose, &mut env, notes);
    let (mut before, mut beside) = (BTreeMap::new(), BTreeMap::new());
    for (name, basis) in dependencies {
        if reaches(edges, &name, &own.name) {
            beside.insert(name, Basis::Guess("`depends-on` would close a cycle".into()));
        } else {
            edges.insert((own.name.clone(), name.clone()));
            before.insert(name, basis);
        }
    }
    for (key, names) in [("depends-on", before), ("uses", beside)] {
        if let Some(basis) = names.values().next().cloned() {
            proposal.set(key, list(names.into_keys()), basis);
        }
    }
    if !env.is_empty() {
        let basis = env.values().next().map(|(_, basis): &(String, Basis)| basis.clone());
        let entries =
            env.iter().map(|(name, (text, _))| (name.as_str(), Value::from(text.as_str())));
        let value = inline(entries);
        if let Some(basis) = basis {
            proposal.set("env", value, basis);
        }
    }
    proposal
}

type Env = BTreeMap<String, (String, Basis)>;

/// The port, and how the program learns it.
fn port(own: &Candidate<'_>, candidates: &[Candidate<'_>], proposal: &mut Proposal, env: &mut Env) {
    match &own.port {
        Some(port) => {
            proposal.set("port", i64::from(port.value), Basis::Stated(port.place.clone()))
        }
        None if own.findings.inherits_sockets.is_some()
            || own.findings.variable("PORT").is_some() =>
        {
            proposal.set(
                "port",
                0,
                Basis::Guess("it reads the port, and no number was found".into()),
            );
        }
        None => return,
    }
    if own.findings.inherits_sockets.is_some() || own.findings.variable("PORT").is_some() {
        return;
    }
    let is_of_another = |name: &str| {
        let names = candidates.iter().filter(|other| other.name != own.name);
        names.into_iter().any(|other| prefix_is(name, &other.name))
    };
    let foreign = ["DATABASE", "DB", "REDIS", "POSTGRES", "PG", "MYSQL", "KAFKA", "NATS", "SMTP"];
    for variable in &own.findings.variables {
        let name = variable.value.as_str();
        if is_of_another(name) || foreign.iter().any(|prefix| prefix_is(name, prefix)) {
            continue;
        }
        let text = match name.rsplit('_').next() {
            Some("PORT") => "${self.port}",
            Some("ADDR" | "ADDRESS" | "BIND" | "LISTEN") => "${self.host}:${self.port}",
            _ => continue,
        };
        env.insert(
            name.to_owned(),
            (text.to_owned(), Basis::Guess(format!("read in {}", variable.place))),
        );
        return;
    }
    proposal.set("fixed-port", true, Basis::Guess("its sources do not read `PORT`".into()));
}

/// The probe: the notify socket, else the path that is named most like one.
fn ready(own: &Candidate<'_>, proposal: &mut Proposal) {
    if let Some(found) = &own.findings.notifies {
        let basis = Basis::Stated(found.place.clone());
        proposal.set("ready", inline([("notify", true.into())]), basis);
        return;
    }
    let rank = |found: &&Found<String>| {
        let path = found.value.as_str();
        (!path.contains("ready") && !path.contains("readiness"), !path.contains("health"))
    };
    if let Some(found) = own.findings.probes.iter().min_by_key(rank) {
        let basis = Basis::Guess(format!("the path in {}", found.place));
        proposal.set("ready", inline([("http", found.value.as_str().into())]), basis);
    }
}

/// The other candidates that this one calls. Adds variables that the tool does not set by itself,
/// and notes about servers that are not part of the workspace.
fn dependencies(
    own: &Candidate<'_>,
    candidates: &[Candidate<'_>],
    compose: Option<&Compose>,
    env: &mut Env,
    notes: &mut Vec<String>,
) -> BTreeMap<String, Basis> {
    let mut found = BTreeMap::new();
    let others = || candidates.iter().filter(|other| other.name != own.name);
    for variable in &own.findings.variables {
        let Some((prefix, form)) = ADDRESSES
            .iter()
            .find_map(|(end, form)| Some((variable.value.strip_suffix(end)?, *form)))
        else {
            continue;
        };
        let Some(other) = others().find(|other| plain(prefix) == plain(&other.name)) else {
            continue;
        };
        let basis = Basis::Guess(format!("it reads `{}` in {}", variable.value, variable.place));
        found.entry(other.name.clone()).or_insert_with(|| basis.clone());
        let is_set =
            ["_URL", "_HOST", "_PORT"].iter().any(|end| variable.value == format!("{prefix}{end}"));
        if !is_set {
            let name = &other.name;
            let text = match form {
                "host:port" => format!("${{{name}.host}}:${{{name}.port}}"),
                form => format!("${{{name}.{form}}}"),
            };
            env.insert(variable.value.clone(), (text, basis));
        }
    }
    for call in &own.findings.calls {
        let served =
            others().find(|other| other.port.as_ref().is_some_and(|port| port.value == call.value));
        match served {
            Some(other) => {
                let basis = Basis::Guess(format!("it calls port {} in {}", call.value, call.place));
                found.entry(other.name.clone()).or_insert(basis);
            }
            None => note(call, notes),
        }
    }
    for stated in own.dotenv.values() {
        for server in SERVERS.iter().filter(|(port, _)| stated.value.contains(&format!(":{port}")))
        {
            note(&Found { value: server.0, place: stated.place.clone() }, notes);
        }
    }
    if let Some((compose, service)) = compose.and_then(|c| Some((c, service_of(own, c)?))) {
        for name in service.depends_on.keys() {
            if let Some(other) = others().find(|other| is_named(other, name)) {
                found.entry(other.name.clone()).or_insert(Basis::Stated(compose.file.clone()));
            }
        }
    }
    found
}

/// Notes a call of a server that no program of the workspace is.
fn note(call: &Found<u16>, notes: &mut Vec<String>) {
    if let Some((port, server)) = SERVERS.iter().find(|(port, _)| *port == call.value) {
        notes.push(format!(
            "{} names port {port} ({server}), which no program here serves: declare it in the root \
             as `[workspace.metadata.services.NAME]` with `command`, `image`, or `external = true`",
            call.place
        ));
    }
}

/// Whether `from` leads to `to`.
fn reaches(edges: &BTreeSet<(String, String)>, from: &str, to: &str) -> bool {
    let mut left = vec![from];
    let mut seen = BTreeSet::new();
    while let Some(next) = left.pop() {
        if next == to {
            return true;
        }
        if seen.insert(next) {
            left.extend(edges.iter().filter(|(from, _)| from == next).map(|(_, to)| to.as_str()));
        }
    }
    false
}

/// The service of a compose file that is this program.
fn service_of<'a>(own: &Candidate<'_>, compose: &'a Compose) -> Option<&'a compose::Service> {
    compose.services.iter().find(|(name, _)| is_named(own, name)).map(|(_, service)| service)
}

fn is_named(candidate: &Candidate<'_>, name: &str) -> bool {
    let Program { package, bin, .. } = candidate.program;
    [package, bin].into_iter().any(|own| plain(own) == plain(name))
}

/// A name without the differences between `my-api`, `my_api` and `MY_API`.
fn plain(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

fn prefix_is(variable: &str, name: &str) -> bool {
    plain(variable)
        .strip_prefix(&plain(name))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// The variables of the `.env` files of the package and of the root. The package wins.
fn dotenv(root: &Path, folder: &Path) -> BTreeMap<String, Found<String>> {
    let mut found = BTreeMap::new();
    for file in [root.join(".env"), folder.join(".env")] {
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let text = fs::read_to_string(&file).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim().trim_start_matches("export ");
            let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#'))
            else {
                continue;
            };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            let place = format!("{shown}:{}", number + 1);
            found.insert(name.trim().to_owned(), Found { value, place });
        }
    }
    found
}

#[cfg(test)]
mod tests;
