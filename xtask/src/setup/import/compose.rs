//! A compose file: services with images become services of the workspace, and services that are
//! built become the program of their name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex_lite::{Captures, Regex};
use serde_json::{Map, Value as Yaml};
use toml_edit::Value;

use super::super::proposal::{Basis, Place, Proposal, inline, list};
use super::super::workspace::Program;
use super::{Error, Imported, program};

/// The parts of a compose file that the metadata can express.
#[derive(Debug, Default)]
pub(crate) struct Compose {
    /// As shown in messages.
    pub(crate) file: String,
    pub(crate) services: BTreeMap<String, Service>,
    /// Keys that the metadata cannot express, one sentence each.
    unread: Vec<String>,
}

/// What one service states.
#[derive(Debug, Default)]
pub(crate) struct Service {
    image: Option<String>,
    /// Whether it has a `build`, and so a Dockerfile.
    builds: bool,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    env_files: Vec<String>,
    volumes: Vec<(String, String)>,
    /// The ports inside the container.
    pub(crate) ports: Vec<u16>,
    /// The names of dependencies, with the condition of the metadata.
    pub(crate) depends_on: BTreeMap<String, &'static str>,
    restart: Option<&'static str>,
}

/// The names that Compose looks for, in its order.
const NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// The compose file in this folder, if one can be read.
pub(crate) fn beside(root: &Path) -> Option<Compose> {
    NAMES.iter().find_map(|name| read(name, &fs::read_to_string(root.join(name)).ok()?).ok())
}

/// Reads a compose file.
pub(crate) fn read(file: &str, text: &str) -> Result<Compose, Error> {
    let wrong = |message: String| Error::Syntax { file: file.to_owned(), message };
    let yaml: Yaml = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let Some(services) = yaml.get("services").and_then(Yaml::as_object) else {
        return Err(wrong("it has no `services`".into()));
    };
    let mut compose = Compose { file: file.to_owned(), ..Compose::default() };
    for (name, keys) in services {
        let Some(keys) = keys.as_object() else {
            return Err(wrong(format!("the service `{name}` is not a mapping")));
        };
        let service = service(name, keys, &mut compose.unread);
        compose.services.insert(name.clone(), service);
    }
    for key in yaml.as_object().into_iter().flat_map(Map::keys) {
        if !["services", "version", "name", "volumes", "networks"].contains(&key.as_str()) {
            compose.unread.push(format!("`{key}` has no key in the metadata"));
        }
    }
    Ok(compose)
}

fn service(name: &str, keys: &Map<String, Yaml>, unread: &mut Vec<String>) -> Service {
    let mut service = Service::default();
    for (key, value) in keys {
        match key.as_str() {
            "image" => service.image = value.as_str().map(str::to_owned),
            "build" => service.builds = true,
            "command" => service.command = words(value),
            "environment" => service.environment = pairs(value),
            "env_file" => service.env_files = texts(value),
            "ports" => service.ports = items(value).filter_map(inner_port).collect(),
            "expose" if service.ports.is_empty() => {
                service.ports = texts(value).iter().filter_map(|port| port.parse().ok()).collect();
            }
            "volumes" => {
                for volume in items(value) {
                    match mount(volume) {
                        Some(mount) => service.volumes.push(mount),
                        None => {
                            unread.push(format!("`{name}`: the volume {volume} is not carried"))
                        }
                    }
                }
            }
            "depends_on" => service.depends_on = dependencies(value),
            "restart" => {
                service.restart = match value.as_str().unwrap_or_default() {
                    "no" => Some("no"),
                    "always" | "unless-stopped" => Some("always"),
                    _ => None,
                };
            }
            // The tool sets names and networks by itself.
            "container_name" | "networks" | "hostname" | "expose" => {}
            "healthcheck" => unread.push(format!(
                "`{name}`: `healthcheck` is not carried: give `ready`, for example \
                 `ready = {{ log = \"ready to accept connections\" }}`"
            )),
            key => unread.push(format!("`{name}`: `{key}` has no key in the metadata")),
        }
    }
    service
}

/// A list, or the one value.
fn items(value: &Yaml) -> impl Iterator<Item = &Yaml> {
    match value {
        Yaml::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    }
    .iter()
}

fn texts(value: &Yaml) -> Vec<String> {
    items(value).filter_map(scalar).collect()
}

fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(value) => Some(value.to_string()),
        // The long form of an env-file.
        Yaml::Object(keys) => keys.get("path").and_then(scalar),
        _ => None,
    }
}

/// A command: its words, or a text that Compose splits at blanks.
fn words(value: &Yaml) -> Vec<String> {
    match value {
        Yaml::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        list => texts(list),
    }
}

/// Variables as a mapping or as a list of `NAME=VALUE`. A name alone comes from the shell, and so
/// needs no line.
fn pairs(value: &Yaml) -> BTreeMap<String, String> {
    match value {
        Yaml::Object(keys) => {
            keys.iter().filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect()
        }
        list => {
            let texts = texts(list);
            let pairs = texts.iter().filter_map(|text| text.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        }
    }
}

/// The port inside the container: of `8080:80`, `127.0.0.1:8080:80/tcp`, `80` or the long form.
fn inner_port(value: &Yaml) -> Option<u16> {
    if let Some(target) = value.get("target") {
        return scalar(target)?.parse().ok();
    }
    let text = scalar(value)?;
    let inner = text.rsplit(':').next()?;
    inner.split('/').next()?.parse().ok()
}

/// The path inside, and the folder of this machine: named volumes are in the stack's data folder.
fn mount(value: &Yaml) -> Option<(String, String)> {
    let (source, target) = match value {
        Yaml::String(text) => {
            let mut parts = text.split(':');
            (parts.next()?.to_owned(), parts.next()?.to_owned())
        }
        long => (scalar(long.get("source")?)?, scalar(long.get("target")?)?),
    };
    let is_path = source.starts_with(['.', '/', '~']);
    let source = match source.strip_prefix("./") {
        Some(below) => below.to_owned(),
        None if is_path => source,
        None => format!("${{stack.data}}/{source}"),
    };
    Some((target, source))
}

/// The dependencies as a list of names, or as a mapping with conditions.
fn dependencies(value: &Yaml) -> BTreeMap<String, &'static str> {
    let Yaml::Object(keys) = value else {
        return texts(value).into_iter().map(|name| (name, "started")).collect();
    };
    let of = |value: &Yaml| match value.get("condition").and_then(Yaml::as_str) {
        Some("service_healthy") => "ready",
        Some("service_completed_successfully") => "succeeded",
        _ => "started",
    };
    keys.iter().map(|(name, value)| (name.clone(), of(value))).collect()
}

/// Proposes metadata for the services of a compose file.
pub(crate) fn propose(compose: &Compose, programs: &[Program]) -> Imported {
    let mut imported = Imported { not_carried: compose.unread.clone(), ..Imported::default() };
    for (name, service) in &compose.services {
        let own = program(name, programs).filter(|_| service.builds || service.image.is_none());
        let mut proposal = match (own, &service.image) {
            (Some(program), _) => {
                let manifest = program.manifest.clone();
                let mut proposal = Proposal::new(name, Place::OnlyOfPackage { manifest });
                if program.package != *name {
                    proposal.set("name", name.as_str(), stated(compose));
                }
                proposal
            }
            (None, Some(image)) => {
                let mut proposal = Proposal::new(name, Place::Workspace);
                proposal.set("image", image.as_str(), stated(compose));
                proposal
            }
            (None, None) => {
                imported.not_carried.push(format!(
                    "`{name}` is built from a Dockerfile, and no program of the workspace has its \
                     name: build the image by hand and declare it with `image`"
                ));
                continue;
            }
        };
        settings(&mut proposal, name, compose, service, own.is_some());
        imported.proposals.push(proposal);
    }
    imported
}

fn stated(compose: &Compose) -> Basis {
    Basis::Stated(compose.file.clone())
}

fn settings(
    proposal: &mut Proposal,
    name: &str,
    compose: &Compose,
    service: &Service,
    is_program: bool,
) {
    let stated = || stated(compose);
    match service.ports.as_slice() {
        [] => {}
        [port] => proposal.set("port", i64::from(*port), stated()),
        ports => {
            let names = ports.iter().enumerate().map(|(at, _)| match at {
                0 => "http".to_owned(),
                at => format!("port{}", at + 1),
            });
            let names: Vec<String> = names.collect();
            let ports = ports.iter().map(|port| Value::from(i64::from(*port)));
            let basis = Basis::Guess(format!("{} gives its ports no names", compose.file));
            proposal.set("ports", inline(names.iter().map(String::as_str).zip(ports)), basis);
        }
    }
    let mut uses = Vec::new();
    let mut text = |text: &str| refer(text, name, compose, service, &mut uses);
    if !service.command.is_empty() {
        proposal.set("args", list(service.command.iter().map(|word| text(word))), stated());
    }
    let env: Vec<(&String, String)> =
        service.environment.iter().map(|(name, value)| (name, text(value))).collect();
    if !env.is_empty() {
        let entries = env.iter().map(|(name, value)| (name.as_str(), value.as_str().into()));
        proposal.set("env", inline(entries), stated());
    }
    match &service.env_files[..] {
        [] => {}
        [file] => proposal.set("env-file", file.as_str(), stated()),
        files => proposal.set("env-file", list(files.iter().cloned()), stated()),
    }
    if !service.volumes.is_empty() && !is_program {
        let volumes = service.volumes.iter();
        let entries = volumes.map(|(inside, outside)| (inside.as_str(), outside.as_str().into()));
        proposal.set("volumes", inline(entries), stated());
    }
    if !service.depends_on.is_empty() {
        let conditions = service.depends_on.iter();
        let value = match service.depends_on.values().all(|condition| *condition == "ready") {
            true => list(service.depends_on.keys().cloned()),
            false => inline(conditions.map(|(name, on)| (name.as_str(), Value::from(*on)))),
        };
        proposal.set("depends-on", value, stated());
    }
    if !uses.is_empty() {
        proposal.set("uses", list(uses), Basis::Guess("a value names its address".into()));
    }
    if let Some(restart) = service.restart {
        proposal.set("restart", restart, stated());
    }
}

/// `${NAME}`, `${NAME:-default}` or `$NAME`, and `host:port` of another service.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\$\$|\$\{([A-Za-z_]\w*)(?::?[-?+][^}]*)?\}|\$([A-Za-z_]\w*)").expect("a pattern")
});
static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b([a-z0-9][a-z0-9_-]*):([0-9]{2,5})\b").expect("a pattern"));

/// A value with the references of the metadata: the shell's variables, and the addresses of other
/// services. Services that are no dependency are added to `uses`.
fn refer(
    text: &str,
    own: &str,
    compose: &Compose,
    service: &Service,
    uses: &mut Vec<String>,
) -> String {
    let text =
        VARIABLE.replace_all(text, |found: &Captures<'_>| match found.get(1).or(found.get(2)) {
            Some(name) => format!("${{env.{}}}", name.as_str()),
            None => "$$".to_owned(),
        });
    ADDRESS
        .replace_all(&text, |found: &Captures<'_>| {
            let name = &found[1];
            if name == own || !compose.services.contains_key(name) {
                return found[0].to_owned();
            }
            if !service.depends_on.contains_key(name) && !uses.iter().any(|used| used == name) {
                uses.push(name.to_owned());
            }
            format!("${{{name}.host}}:${{{name}.port}}")
        })
        .into_owned()
}
