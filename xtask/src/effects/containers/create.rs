//! Making the container of one run: every argument that the engine gets.
//!
//! What is in them was decided before. It starts nothing.

use std::path::Path;

use rustix::process::{getegid, geteuid};
use xtask_core::stack::Command;
use xtask_core::stack::effect::{Container, ImageOrigin, Neighbour};
use xtask_core::terms::Name;
use xtask_core::terms::host::bracketed;

use super::engine::Engine;
use super::image::SERVICE_LABEL;
use super::stack::{Host, Network, StackContainers};

/// Where containers find this machine if the network's gateway is not it.
const ELSEWHERE: &str = "host-gateway";

/// Beginnings of variables that mean something to the engine's own command line.
const ITS_OWN: [&str; 6] = ["DOCKER_", "CONTAINER_", "CONTAINERS_", "XDG_", "LD_", "BUILDAH_"];

/// Variables that do.
const ITS_OWN_NAMES: [&str; 9] = [
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

/// The container of a run.
pub(crate) struct NewContainer<'a> {
    pub(crate) service: &'a Name,
    pub(crate) name: &'a str,
    pub(crate) command: &'a Command,
    pub(crate) container: &'a Container,
    /// The socket on which the run reports about itself.
    pub(crate) notify: Option<&'a Path>,
}

/// Makes the container.
///
/// # Errors
/// The engine's words.
pub(crate) async fn create(
    engine: &Engine,
    containers: &StackContainers,
    network: &Network,
    wanted: &NewContainer<'_>,
) -> Result<(), String> {
    let (mut args, variables) = arguments(containers, network, wanted);
    args.extend(hosts(network, &wanted.container.neighbours)?);
    let writes_here =
        wanted.container.origin == ImageOrigin::Built || !wanted.container.volumes.is_empty();
    if writes_here && !geteuid().is_root() {
        // Whoever may write the data on this machine writes it there, and can delete it.
        args.push(format!("--user={}:{}", geteuid().as_raw(), getegid().as_raw()));
        if engine.is_podman() {
            args.push("--userns=keep-id".to_owned());
        }
    }
    args.push(wanted.container.image.clone());
    args.extend(wanted.command.args.iter().cloned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let made = containers.making(engine.run_with_env(&args, &variables)).await;
    made.map(drop).map_err(|error| error.to_string())
}

/// Arguments up to the image, and variables for the command line itself: what it hands on
/// by name is not seen by others who list processes.
fn arguments(
    containers: &StackContainers,
    network: &Network,
    wanted: &NewContainer<'_>,
) -> (Vec<String>, Vec<(String, String)>) {
    let NewContainer { service, name, command, container, notify } = wanted;
    // The image is here: made, or fetched before.
    let mut args: Vec<String> =
        ["create", "--rm", "--pull=never"].map(String::from).into_iter().collect();
    args.push(format!("--name={name}"));
    // What it prints is kept here already.
    args.push("--log-driver=none".into());
    args.extend(containers.labels().map(|label| format!("--label={label}")));
    args.push(format!("--label={SERVICE_LABEL}={service}"));
    args.push(format!("--network={}", network.name));
    args.push(format!("--network-alias={service}"));
    args.push(format!("--hostname={service}"));
    if container.origin == ImageOrigin::Built {
        // The probes of the stack ask whether it is well.
        let strict =
            ["--init", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--no-healthcheck"];
        args.extend(strict.map(String::from));
        args.push("--security-opt=no-new-privileges".into());
    }
    for port in &container.ports {
        let host = bracketed(&port.host);
        match (command.sockets.is_empty(), network.gateway()) {
            (true, _) => {
                args.push(format!("--publish={host}:{}:{}", port.outside, port.inside));
            }
            // The supervisor listens, and reaches the container as it is.
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
    let (own, others): (Vec<_>, Vec<_>) =
        variables.into_iter().partition(|(name, _)| is_its_own(name));
    args.extend(own.into_iter().map(|(name, value)| format!("--env={name}={value}")));
    args.extend(others.iter().map(|(name, _)| format!("--env={name}")));
    (args, others)
}

/// Where the container finds those that this machine listens for. Those that are containers
/// have their name in the network, too.
fn hosts(network: &Network, neighbours: &[Neighbour]) -> Result<Vec<String>, String> {
    let host = |neighbour: &Neighbour| {
        let name = &neighbour.name;
        match (network.host, neighbour.contained) {
            (Host::At(address), _) => Some(Ok(format!("--add-host={name}:{address}"))),
            (Host::Elsewhere, _) => Some(Ok(format!("--add-host={name}:{ELSEWHERE}"))),
            (Host::Hidden, true) => None,
            (Host::Hidden, false) => Some(Err(format!(
                "`{name}` is a process, and containers of an engine without root reach none: \
                 run it in a container too"
            ))),
        }
    };
    neighbours.iter().filter_map(host).collect()
}

fn is_its_own(name: &str) -> bool {
    ITS_OWN_NAMES.contains(&name) || ITS_OWN.iter().any(|prefix| name.starts_with(prefix))
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
    use super::*;

    #[test]
    fn a_mount_keeps_paths_with_commas_together() {
        assert_eq!(mount("/a", "/b"), "--mount=type=bind,source=/a,target=/b");
        assert_eq!(mount("/a,c", "/b"), "--mount=type=bind,\"source=/a,c\",target=/b");
    }

    #[test]
    fn without_root_containers_call_each_other_and_a_process_is_refused() {
        let neighbour = |name: &str, contained| Neighbour {
            name: name.into(),
            ports: vec![("127.0.0.1".to_owned(), 5000)],
            contained,
        };
        let both = [neighbour("inside", true), neighbour("process", false)];
        let hosts = |host, of: &[Neighbour]| hosts(&Network { name: "n".to_owned(), host }, of);
        let named = |names: [&str; 2]| Ok(names.map(|name| format!("--add-host={name}")).to_vec());
        let gateway = Host::At("172.17.0.1".parse().unwrap());
        assert_eq!(hosts(gateway, &both), named(["inside:172.17.0.1", "process:172.17.0.1"]));
        assert_eq!(hosts(Host::Hidden, &both[..1]), Ok(Vec::new()));
        assert!(hosts(Host::Hidden, &both).unwrap_err().starts_with("`process` is a process"));
        let elsewhere = ["inside:host-gateway", "process:host-gateway"];
        assert_eq!(hosts(Host::Elsewhere, &both), named(elsewhere));
    }

    #[test]
    fn what_would_lead_the_engine_astray_is_told_to_the_container_alone() {
        assert!(is_its_own("DOCKER_HOST") && is_its_own("PATH") && is_its_own("HOME"));
        assert!(!is_its_own("DATABASE_URL") && !is_its_own("PORT"));
    }
}
