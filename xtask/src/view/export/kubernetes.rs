//! Objects for Kubernetes: a workload and a Service for each service, a claim for the data, and
//! the secrets in a separate file.
//!
//! Namespace, ingress and storage class belong to the cluster and are not written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use xtask_core::terms::duration::whole_seconds;
use xtask_core::terms::{Kind, Restart};

use super::unit::{Mount, Port, Unit};
use super::{Access, Difference, File, difference, does_not_wait, needed_on_all, yaml};

/// Number of tries of a job, which may start before its dependencies.
const JOB_TRIES: u32 = 20;

/// Number of failed readiness checks after which a container gets no more requests.
const MISSES: u32 = 3;

/// Seconds for load balancers to learn that a container stops; Kubernetes does not wait for them.
const UNTIL_CALLERS_KNOW: Duration = Duration::from_secs(5);

/// Requested storage for data.
const DATA_SIZE: &str = "1Gi";

/// The longest name of a port, in bytes.
const PORT_NAME_LIMIT: usize = 15;

/// The longest name of an object, in bytes.
const NAME_LIMIT: usize = 63;

pub(super) fn files(units: &[Unit], user: u32, out: &mut Vec<Difference>) -> Vec<File> {
    let mut objects = Vec::new();
    if units.iter().any(Unit::has_data) {
        objects.push(claim());
    }
    for unit in units {
        unit_differences(unit, out);
        objects.extend(address(unit));
        objects.push(match unit.kind {
            Kind::Service => deployment(unit, user),
            Kind::Job => job(unit, user),
        });
    }
    let secrets: Vec<Value> =
        units.iter().filter(|unit| !unit.secrets.is_empty()).map(secret).collect();
    let mut files =
        vec![File { path: "kubernetes.yaml".into(), text: text(&objects), access: Access::Public }];
    if !secrets.is_empty() {
        let text = text(&secrets);
        files.push(File { path: "secrets.yaml".into(), text, access: Access::Secret });
    }
    files
}

fn text(objects: &[Value]) -> String {
    objects.iter().fold(String::new(), |mut out, object| {
        let _ = write!(out, "---\n{}", yaml(object));
        out
    })
}

fn unit_differences(unit: &Unit, out: &mut Vec<Difference>) {
    if let Some(alias) = &unit.alias {
        let what = format!("is not called `{alias}`, which is no valid name for Kubernetes");
        difference(out, unit, what);
    }
    does_not_wait(out, unit);
    if unit.kind == Kind::Service && check(unit).is_none() {
        let what = "counts as ready when it runs: no probe of it can be asked from outside";
        difference(out, unit, what);
    }
    if unit.kind == Kind::Service && unit.restart != Restart::Always {
        difference(out, unit, "is started again whenever it ends");
    }
    if unit.health.as_ref().is_some_and(|health| !health.restart) {
        difference(out, unit, "is restarted when it is unhealthy");
    }
    if unit.stop_signal != "SIGTERM" {
        let what =
            format!("is stopped by what its image says, or SIGTERM, not {}", unit.stop_signal);
        difference(out, unit, what);
    }
    if unit.has_data() {
        difference(out, unit, "its data is one volume, so that all that use it run on one machine");
    }
    for mount in &unit.volumes {
        if let Mount::Machine { outside, .. } = mount {
            needed_on_all(out, unit, outside);
        }
    }
}

fn metadata(unit: &Unit) -> Value {
    json!({ "name": unit.name, "labels": labels(unit) })
}

fn labels(unit: &Unit) -> Value {
    json!({ "app.kubernetes.io/name": unit.name })
}

fn claim() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "data" },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": DATA_SIZE } },
        },
    })
}

fn address(unit: &Unit) -> Option<Value> {
    let ports: Vec<Value> = unit
        .ports
        .iter()
        .map(|port| json!({ "name": port_name(unit, &port.name), "port": port.number }))
        .collect();
    (!ports.is_empty()).then(|| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(unit),
            "spec": { "selector": labels(unit), "ports": ports },
        })
    })
}

fn deployment(unit: &Unit, user: u32) -> Value {
    // Two copies at once would open the same files.
    let strategy = if unit.has_data() {
        json!({ "type": "Recreate" })
    } else {
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } })
    };
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(unit),
        "spec": {
            "replicas": unit.deploy.replicas,
            "selector": { "matchLabels": labels(unit) },
            "strategy": strategy,
            "template": template(unit, user, "Always"),
        },
    })
}

fn job(unit: &Unit, user: u32) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(unit),
        "spec": { "backoffLimit": JOB_TRIES, "template": template(unit, user, "OnFailure") },
    })
}

fn template(unit: &Unit, user: u32, restart: &str) -> Value {
    let mut volumes = vec![json!({ "name": "tmp", "emptyDir": {} })];
    let mut mounts = vec![json!({ "name": "tmp", "mountPath": "/tmp" })];
    if unit.has_data() {
        volumes.push(json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }));
    }
    for (index, mount) in unit.volumes.iter().enumerate() {
        match mount {
            Mount::Data { inside, below } if below.is_empty() => {
                mounts.push(json!({ "name": "data", "mountPath": inside }));
            }
            Mount::Data { inside, below } => {
                mounts.push(json!({ "name": "data", "mountPath": inside, "subPath": below }));
            }
            Mount::Machine { inside, outside } => {
                let name = format!("machine-{index}");
                volumes.push(json!({ "name": name, "hostPath": { "path": outside } }));
                mounts.push(json!({ "name": name, "mountPath": inside }));
            }
        }
    }
    // Kubernetes counts the pause as part of the grace period.
    let stop_timeout = unit.stop_timeout + pause_before_stop(unit).unwrap_or_default();
    json!({
        "metadata": { "labels": labels(unit) },
        "spec": {
            "restartPolicy": restart,
            // Kubernetes' own variables would overwrite the addresses of the plan.
            "enableServiceLinks": false,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": whole_seconds(stop_timeout),
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": user,
                "runAsGroup": user,
                "fsGroup": user,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [container(unit, mounts)],
            "volumes": volumes,
        },
    })
}

fn container(unit: &Unit, mounts: Vec<Value>) -> Value {
    let mut container = json!({
        "name": unit.name,
        "image": unit.image,
        "imagePullPolicy": "IfNotPresent",
        "env": variables(unit),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts,
    });
    let mut add = |key: &str, value: Value| container[key] = value;
    if !unit.args.is_empty() {
        add("args", unit.args.iter().map(|arg| escaped(arg)).collect());
    }
    if !unit.ports.is_empty() {
        let port = |port: &Port| json!({ "name": port_name(unit, &port.name), "containerPort": port.number });
        add("ports", unit.ports.iter().map(port).collect());
    }
    if let Some(check) = check(unit).filter(|_| unit.kind == Kind::Service) {
        let every = |seconds: u32, failures: u64| {
            let mut probe = check.clone();
            probe["periodSeconds"] = seconds.into();
            probe["timeoutSeconds"] = 5.into();
            probe["failureThreshold"] = failures.into();
            probe
        };
        add("startupProbe", every(1, whole_seconds(unit.start_timeout).max(1)));
        add("readinessProbe", every(2, MISSES.into()));
    }
    if let Some(health) = &unit.health {
        let port = port_name(unit, &health.port);
        let mut probe = match &health.path {
            Some(path) => json!({ "httpGet": { "path": path, "port": port } }),
            None => json!({ "tcpSocket": { "port": port } }),
        };
        probe["periodSeconds"] = whole_seconds(health.every).max(1).into();
        probe["timeoutSeconds"] = 5.into();
        probe["failureThreshold"] = MISSES.into();
        add("livenessProbe", probe);
    }
    if let Some(pause) = pause_before_stop(unit) {
        let sleep = json!({ "sleep": { "seconds": whole_seconds(pause) } });
        add("lifecycle", json!({ "preStop": sleep }));
    }
    if let Some(limits) = limits(unit) {
        add("resources", limits);
    }
    container
}

/// The pause before a called service receives its stop signal, so that load balancers stop sending
/// requests to it. Swarm does this by itself.
fn pause_before_stop(unit: &Unit) -> Option<Duration> {
    (unit.kind == Kind::Service && !unit.ports.is_empty()).then_some(UNTIL_CALLERS_KNOW)
}

fn check(unit: &Unit) -> Option<Value> {
    if let Some((path, port)) = &unit.http {
        return Some(json!({ "httpGet": { "path": path, "port": port_name(unit, port) } }));
    }
    if !unit.command.is_empty() {
        return Some(json!({ "exec": { "command": unit.command } }));
    }
    unit.tcp.as_ref().map(|port| json!({ "tcpSocket": { "port": port_name(unit, port) } }))
}

fn variables(unit: &Unit) -> Vec<Value> {
    let plain =
        unit.env.iter().map(|(name, value)| json!({ "name": name, "value": escaped(value) }));
    let kept = unit.secrets.iter().map(|secret| {
        let reference = json!({ "name": secret_name(unit), "key": secret.name });
        json!({ "name": secret.variable, "valueFrom": { "secretKeyRef": reference } })
    });
    plain.chain(kept).collect()
}

fn secret(unit: &Unit) -> Value {
    let values: BTreeMap<&str, &str> =
        unit.secrets.iter().map(|secret| (secret.name.as_str(), secret.value.as_str())).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": secret_name(unit) },
        "stringData": values,
    })
}

fn secret_name(unit: &Unit) -> String {
    format!("{}-secrets", unit.name)
}

fn limits(unit: &Unit) -> Option<Value> {
    let mut limits = BTreeMap::new();
    if let Some(bytes) = unit.deploy.memory_bytes {
        limits.insert("memory", bytes.to_string());
    }
    if let Some(millis) = unit.deploy.cpu_millis {
        limits.insert("cpu", format!("{millis}m"));
    }
    (!limits.is_empty()).then(|| json!({ "limits": limits }))
}

/// Escapes `$(NAME)`, which Kubernetes replaces by a variable.
fn escaped(text: &str) -> String {
    text.replace("$(", "$$(")
}

/// The port's name if Kubernetes accepts it, else a name from its index.
fn port_name(unit: &Unit, name: &str) -> String {
    let has_letter = name.contains(|c: char| c.is_ascii_lowercase());
    if is_label(name) && has_letter && name.len() <= PORT_NAME_LIMIT && !name.contains("--") {
        return name.to_owned();
    }
    let place = unit.ports.iter().position(|port| port.name == name);
    format!("port-{}", place.unwrap_or_default())
}

/// Whether `name` can name an object: a label of RFC 1123.
fn is_label(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain)
        && name.ends_with(plain)
        && name.len() <= NAME_LIMIT
        && name.chars().all(|c| plain(c) || c == '-')
}
