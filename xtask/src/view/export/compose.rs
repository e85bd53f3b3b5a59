//! Compose files: for Docker Compose, and as stack files for Docker Swarm.
//!
//! Both read the same format but obey different parts of it; each gets only the parts it obeys.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use xtask_core::terms::duration::whole_seconds;
use xtask_core::terms::{Condition, Kind, Restart};

use super::unit::{Health, Mount, SHELL, Secret, Unit};
use super::{Access, Difference, File, Target, difference, does_not_wait, needed_on_all, yaml};

/// Folder of secrets in a container.
const SECRETS: &str = "/run/secrets";

/// Folder of secrets in the output.
const SECRET_FILES: &str = "secrets";
const CHECKED_EVERY: &str = "2s";

/// Version of the format that `docker stack deploy` requires.
const STACK_VERSION: &str = "3.8";

#[derive(Serialize)]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    services: BTreeMap<String, Service>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<&'static str, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct Service {
    image: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    depends_on: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<&'static str>,
    stop_signal: String,
    stop_grace_period: String,
    read_only: bool,
    tmpfs: Vec<&'static str>,
    cap_drop: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    security_opt: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deploy: Option<Value>,
}

/// The Compose file and one file for each secret.
pub(super) fn files(units: &[Unit], target: Target, out: &mut Vec<Difference>) -> Vec<File> {
    let secrets = || units.iter().flat_map(|unit| &unit.secrets);
    let file_of = |secret: &Secret| format!("{SECRET_FILES}/{}", secret.name);
    let document = Document {
        version: (target == Target::Swarm).then_some(STACK_VERSION),
        services: units
            .iter()
            .map(|unit| (unit.name.clone(), service(unit, units, target, out)))
            .collect(),
        volumes: units
            .iter()
            .find(|unit| unit.has_data())
            .map(|_| ("data", json!({})))
            .into_iter()
            .collect(),
        secrets: secrets()
            .map(|secret| {
                (secret.name.clone(), json!({ "file": format!("./{}", file_of(secret)) }))
            })
            .collect(),
    };
    let path = match target {
        Target::Compose => "compose.yaml",
        Target::Swarm | Target::Kubernetes => "stack.yaml",
    };
    let main = File { path: path.into(), text: yaml(&document), access: Access::Public };
    let secret = |secret: &Secret| File {
        path: file_of(secret),
        text: secret.value.clone(),
        access: Access::Handed,
    };
    std::iter::once(main).chain(secrets().map(secret)).collect()
}

fn service(unit: &Unit, units: &[Unit], target: Target, out: &mut Vec<Difference>) -> Service {
    let swarm = target == Target::Swarm;
    let plain = unit.env.iter().map(|(name, value)| (name.clone(), escaped(value)));
    let kept = unit
        .secrets
        .iter()
        .map(|secret| (format!("{}_FILE", secret.variable), format!("{SECRETS}/{}", secret.name)));
    if swarm {
        swarm_differences(unit, out);
    }
    let limits = (!swarm).then_some(&unit.deploy);
    Service {
        image: unit.image.clone(),
        command: unit.args.iter().map(|arg| escaped(arg)).collect(),
        environment: plain.chain(kept).collect(),
        secrets: unit.secrets.iter().map(|secret| secret.name.clone()).collect(),
        ports: ports(unit, target, out),
        volumes: unit.volumes.iter().map(|mount| volume(unit, mount, out)).collect(),
        depends_on: if swarm { BTreeMap::new() } else { depends_on(unit, units, out) },
        networks: (unit.alias.as_ref()).map(|alias| json!({ "default": { "aliases": [alias] } })),
        healthcheck: healthcheck(unit, target, out),
        restart: (!swarm).then(|| restart(unit)),
        stop_signal: unit.stop_signal.clone(),
        stop_grace_period: seconds(unit.stop_timeout),
        read_only: true,
        tmpfs: vec!["/tmp"],
        cap_drop: vec!["ALL"],
        // Swarm rejects this key.
        security_opt: if swarm { Vec::new() } else { vec!["no-new-privileges:true"] },
        mem_limit: limits.and_then(|deploy| deploy.memory_bytes).map(|bytes| bytes.to_string()),
        cpus: limits.and_then(|deploy| deploy.cpu_millis).map(|m| f64::from(m) / 1000.0),
        deploy: swarm.then(|| deploy(unit)),
    }
}

/// Escapes `$`, which starts a variable in a Compose file.
fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

fn seconds(duration: Duration) -> String {
    format!("{}s", whole_seconds(duration))
}

fn ports(unit: &Unit, target: Target, out: &mut Vec<Difference>) -> Vec<String> {
    let mut ports = Vec::new();
    for port in &unit.ports {
        let Some(published) = port.published else { continue };
        match target {
            Target::Compose if unit.deploy.replicas > 1 => {
                difference(out, unit, "its port is not published: copies cannot share it");
            }
            Target::Compose => ports.push(format!("127.0.0.1:{published}:{}", port.number)),
            Target::Swarm | Target::Kubernetes => {
                ports.push(format!("{published}:{}", port.number));
                let what = format!("port {published} is published on every address of the swarm");
                difference(out, unit, what);
            }
        }
    }
    ports
}

fn volume(unit: &Unit, mount: &Mount, out: &mut Vec<Difference>) -> String {
    match mount {
        Mount::Data { inside, below } => {
            if !below.is_empty() {
                difference(out, unit, format!("`{inside}` shows all data, not only `{below}`"));
            }
            format!("data:{inside}")
        }
        Mount::Machine { inside, outside } => {
            needed_on_all(out, unit, outside);
            format!("{outside}:{inside}")
        }
    }
}

fn depends_on(unit: &Unit, units: &[Unit], out: &mut Vec<Difference>) -> BTreeMap<String, Value> {
    let mut edges = BTreeMap::new();
    for (on, condition) in &unit.depends_on {
        let healthy = units.iter().any(|other| other.name == *on && other.is_checked_inside());
        let condition = match condition {
            Condition::Ready if healthy => "service_healthy",
            Condition::Ready => {
                difference(out, unit, format!("waits for the start of `{on}` only"));
                "service_started"
            }
            Condition::Started => "service_started",
            Condition::Succeeded => "service_completed_successfully",
        };
        edges.insert(on.clone(), json!({ "condition": condition }));
    }
    edges
}

fn healthcheck(unit: &Unit, target: Target, out: &mut Vec<Difference>) -> Option<Value> {
    if unit.kind == Kind::Job {
        return None;
    }
    match (&unit.health, target) {
        (Some(Health { restart: true, .. }), Target::Compose) => {
            difference(out, unit, "is not restarted when it is unhealthy");
        }
        (Some(Health { restart: false, .. }), Target::Swarm) => {
            difference(out, unit, "is replaced when it is unhealthy");
        }
        (Some(_) | None, _) => {}
    }
    let health = unit.health.as_ref().filter(|health| !health.command.is_empty());
    let command = health.map_or(&unit.command, |health| &health.command);
    if command.is_empty() {
        let what = "has no health check: only `self-probe` and `ready.command` work inside";
        difference(out, unit, what);
        return None;
    }
    if health.is_some_and(|health| health.command[0] == SHELL) {
        let what = "its health check needs a shell with `wget` or `curl` in its image";
        difference(out, unit, what);
    }
    if health.is_some_and(|health| !unit.command.is_empty() && health.command != unit.command) {
        difference(out, unit, "counts as ready when its `health` passes");
    }
    let command = command.iter().map(|word| escaped(word));
    Some(json!({
        "test": std::iter::once("CMD".to_owned()).chain(command).collect::<Vec<_>>(),
        "interval": health.map_or(CHECKED_EVERY.to_owned(), |health| seconds(health.every)),
        "timeout": "5s",
        "retries": 3,
        "start_period": seconds(unit.start_timeout),
    }))
}

fn restart(unit: &Unit) -> &'static str {
    match (unit.kind, unit.restart) {
        (Kind::Job, _) | (_, Restart::No) => "no",
        (Kind::Service, Restart::OnFailure) => "on-failure",
        (Kind::Service, Restart::Always) => "always",
    }
}

fn swarm_differences(unit: &Unit, out: &mut Vec<Difference>) {
    does_not_wait(out, unit);
    if unit.has_data() {
        difference(out, unit, "its data stays on the machine where it runs first");
    }
    if unit.has_data() && unit.deploy.replicas > 1 {
        difference(out, unit, "its copies share one volume on each machine");
    }
}

fn deploy(unit: &Unit) -> Value {
    let condition = match (unit.kind, unit.restart) {
        // Swarm does not wait for dependencies, so the job is retried until they are ready.
        (Kind::Job, _) | (Kind::Service, Restart::OnFailure) => "on-failure",
        (Kind::Service, Restart::Always) => "any",
        (Kind::Service, Restart::No) => "none",
    };
    let mut deploy = json!({
        "mode": "replicated-job",
        "replicas": unit.deploy.replicas,
        "restart_policy": { "condition": condition, "delay": "1s" },
    });
    if unit.kind == Kind::Service {
        // Two copies at once would open the same files.
        let order = if unit.has_data() { "stop-first" } else { "start-first" };
        deploy["mode"] = "replicated".into();
        deploy["rollback_config"] = json!({ "parallelism": 1, "order": order });
        deploy["update_config"] = json!({
            "parallelism": 1, "order": order, "monitor": "5s", "failure_action": "rollback",
        });
    }
    if let Some(bytes) = unit.deploy.memory_bytes {
        deploy["resources"]["limits"]["memory"] = bytes.to_string().into();
    }
    if let Some(millis) = unit.deploy.cpu_millis {
        deploy["resources"]["limits"]["cpus"] = (f64::from(millis) / 1000.0).to_string().into();
    }
    deploy
}
