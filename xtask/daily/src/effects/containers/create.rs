//! Creates the container of one run: all arguments of the engine's command.
//!
//! It starts nothing.

use std::path::Path;

use rustix::process::{getegid, geteuid};
use xtask_core::stack::Command;
use xtask_core::stack::effect::{Container, ImageOrigin, Neighbour};
use xtask_core::terms::Name;
use xtask_core::terms::host::bracketed;

use super::ContainerError;
use super::engine::Engine;
use super::image::SERVICE_LABEL;
use super::stack::{Host, Network, StackContainers};
use crate::effects::proxies::{
    EXCEPTIONS, docker_exceptions, is_proxy, own_exceptions, with_hosts,
};

/// The name of this machine if the network's gateway is another one.
const ELSEWHERE: &str = "host-gateway";

/// Prefixes of variables that the engine's command line reads.
const ENGINE_PREFIXES: [&str; 6] =
    ["DOCKER_", "CONTAINER_", "CONTAINERS_", "XDG_", "LD_", "BUILDAH_"];

/// Other variables that it reads.
const ENGINE_VARIABLES: [&str; 9] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

pub(crate) struct NewContainer<'a> {
    pub(crate) service: &'a Name,
    pub(crate) name: &'a str,
    pub(crate) command: &'a Command,
    pub(crate) container: &'a Container,
    pub(crate) notify: Option<&'a Path>,
}

pub(crate) async fn create(
    engine: &Engine,
    containers: &StackContainers,
    network: &Network,
    wanted: &NewContainer<'_>,
) -> Result<(), ContainerError> {
    let (mut args, mut variables) = arguments(containers, network, wanted);
    args.extend(proxy_exceptions(engine, wanted.command, &mut variables));
    let (own, others): (Vec<_>, Vec<_>) =
        variables.into_iter().partition(|(name, _)| is_read_by_engine(name));
    args.extend(others.iter().map(|(name, _)| format!("--env={name}")));
    // The engine's command line would read these itself. It gets all others in its environment, so
    // `ps` shows no value.
    let lines = env_lines(&own)?;
    if !lines.is_empty() {
        args.push("--env-file=/dev/stdin".to_owned());
    }
    args.extend(hosts(network, &wanted.container.neighbours)?);
    let writes_here =
        wanted.container.origin == ImageOrigin::Built || !wanted.container.volumes.is_empty();
    if writes_here && !geteuid().is_root() {
        // Files that the container writes belong to the caller, who can delete them.
        args.push(format!("--user={}:{}", geteuid().as_raw(), getegid().as_raw()));
        if engine.is_podman() {
            args.push("--userns=keep-id".to_owned());
        }
    }
    args.push(wanted.container.image.clone());
    args.extend(wanted.command.args.iter().cloned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    containers.creating(engine.run_with_env(&args, lines.as_bytes(), &others)).await?;
    Ok(())
}

/// Arguments up to the image without variables, and the variables.
fn arguments(
    containers: &StackContainers,
    network: &Network,
    wanted: &NewContainer<'_>,
) -> (Vec<String>, Vec<(String, String)>) {
    let NewContainer { service, name, command, container, notify } = wanted;
    // The image was built or pulled before, and the supervisor writes the log.
    let mut args =
        ["create", "--rm", "--pull=never", "--log-driver=none"].map(String::from).to_vec();
    args.extend(containers.labels().map(|label| format!("--label={label}")));
    args.extend([
        format!("--name={name}"),
        format!("--label={SERVICE_LABEL}={service}"),
        format!("--network={}", network.name),
        format!("--hostname={}", service.host()),
    ]);
    args.extend(service.hosts().map(|host| format!("--network-alias={host}")));
    if container.origin == ImageOrigin::Built {
        // The stack's probes replace the health check.
        let strict = "--init --read-only --tmpfs=/tmp --cap-drop=ALL --no-healthcheck \
                      --security-opt=no-new-privileges";
        args.extend(strict.split(' ').map(String::from));
    }
    for port in &container.ports {
        let host = bracketed(&port.host);
        match (command.sockets.is_empty(), network.subnet()) {
            (true, _) => args.push(format!("--publish={host}:{}:{}", port.outside, port.inside)),
            // The supervisor listens, and connects to the container's own address.
            (false, Some(_)) => {}
            (false, None) => args.push(format!("--publish=127.0.0.1::{}", port.inside)),
        }
    }
    for volume in &container.volumes {
        args.push(mount(&volume.outside, &volume.inside));
    }
    let mut variables = command.env.clone();
    if let Some(path) = notify {
        let path = path.display().to_string();
        args.push(mount(&path, &path));
        variables.push(("NOTIFY_SOCKET".into(), path));
    }
    if let Some(every) = command.watchdog_us {
        variables.push(("WATCHDOG_USEC".into(), every.to_string()));
    }
    (args, variables)
}

/// The arguments that keep the hosts of the stack from a proxy that the service's own variables or
/// the engine set. In a file they would not replace the list in Docker's settings.
fn proxy_exceptions(
    engine: &Engine,
    command: &Command,
    variables: &mut Vec<(String, String)>,
) -> Vec<String> {
    let is_own = variables.iter().any(|(name, value)| is_proxy(name) && !value.is_empty());
    let inherited = match engine.is_podman() {
        true => own_exceptions(),
        false => docker_exceptions(),
    };
    if (!is_own && inherited.is_none()) || command.direct_hosts.is_empty() {
        return Vec::new();
    }
    let is_list = |name: &str| EXCEPTIONS.contains(&name);
    let declared = variables.iter().find(|(name, _)| is_list(name)).map(|(_, list)| list.clone());
    let list = with_hosts(&declared.or(inherited).unwrap_or_default(), &command.direct_hosts);
    variables.retain(|(name, _)| !is_list(name));
    EXCEPTIONS.map(|name| format!("--env={name}={list}")).into()
}

/// The lines of an `--env-file`.
fn env_lines(variables: &[(String, String)]) -> Result<String, ContainerError> {
    let mut text = String::new();
    for (name, value) in variables {
        if value.contains(['\n', '\r']) {
            return Err(ContainerError::LineBreak { variable: name.clone() });
        }
        text.extend([name, "=", value, "\n"]);
    }
    Ok(text)
}

/// The addresses of services whose ports are on this machine. Other containers also have
/// their name in the network.
fn hosts(network: &Network, neighbours: &[Neighbour]) -> Result<Vec<String>, ContainerError> {
    let mut hosts = Vec::new();
    for Neighbour { name, contained, .. } in neighbours {
        let at = match (network.host, contained) {
            (Host::At(subnet), _) => subnet.gateway.to_string(),
            (Host::Elsewhere, _) => ELSEWHERE.to_owned(),
            (Host::Unreachable, true) => continue,
            (Host::Unreachable, false) => {
                return Err(ContainerError::Unreachable { service: name.to_string() });
            }
        };
        hosts.extend(name.hosts().map(|host| format!("--add-host={host}:{at}")));
    }
    Ok(hosts)
}

fn is_read_by_engine(name: &str) -> bool {
    ENGINE_VARIABLES.contains(&name)
        || ENGINE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A mount, in the engine's own form of comma-separated fields.
fn mount(outside: &str, inside: &str) -> String {
    let field = |name: &str, path: &str| {
        let field = format!("{name}={path}");
        match field.contains([',', '"']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        }
    };
    format!("--mount=type=bind,{},{}", field("source", outside), field("target", inside))
}

#[cfg(test)]
mod tests {
    use crate::effects::containers::subnet::Subnet;

    use super::*;

    #[test]
    fn mount_quotes_paths_with_commas() {
        assert_eq!(mount("/a", "/b"), "--mount=type=bind,source=/a,target=/b");
        assert_eq!(mount("/a,c", "/b"), "--mount=type=bind,\"source=/a,c\",target=/b");
    }

    #[test]
    fn rootless_containers_cannot_reach_processes() {
        let neighbour = |name: &str, contained| Neighbour {
            name: name.into(),
            ports: vec![("127.0.0.1".to_owned(), 5000)],
            contained,
        };
        let both = [neighbour("inside", true), neighbour("process", false)];
        let hosts = |host, of: &[Neighbour]| hosts(&Network { name: "n".to_owned(), host }, of);
        let named = |names: [&str; 2]| names.map(|name| format!("--add-host={name}")).to_vec();
        let gateway = Host::At(Subnet::parse("172.17.0.0/16,172.17.0.1").unwrap());
        assert_eq!(
            hosts(gateway, &both).unwrap(),
            named(["inside:172.17.0.1", "process:172.17.0.1"])
        );
        assert_eq!(hosts(Host::Unreachable, &both[..1]).unwrap(), [""; 0]);
        assert!(
            hosts(Host::Unreachable, &both)
                .unwrap_err()
                .text()
                .starts_with("`process` is a process")
        );
        let elsewhere = ["inside:host-gateway", "process:host-gateway"];
        assert_eq!(hosts(Host::Elsewhere, &both).unwrap(), named(elsewhere));
    }

    #[test]
    fn engine_variables_reach_only_the_container() {
        assert!(
            is_read_by_engine("DOCKER_HOST")
                && is_read_by_engine("PATH")
                && is_read_by_engine("HOME")
        );
        assert!(!is_read_by_engine("DATABASE_URL") && !is_read_by_engine("PORT"));
    }
}
