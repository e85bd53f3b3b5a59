//! A swarm of one machine for the test, with one stack.
//!
//! It is created only if the engine is not in a swarm. The swarm of a killed test is recognised by
//! its label and removed first.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime};

/// The timeout for replicas to become healthy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The network that the engine creates for a swarm and does not remove.
const GATEWAY: &str = "docker_gwbridge";

/// The label of the swarm's node; its value is the stack's name.
const LABEL: &str = "swarm-test";

/// Everything that the test creates in the engine; removed on drop.
#[derive(Debug)]
pub(crate) struct Swarm {
    name: String,
    /// Images and networks that existed before, which are kept.
    before: BTreeSet<String>,
    images: Vec<String>,
}

/// The variable that enables this test, because it changes the machine's engine.
const ENABLED_BY: &str = "E2E_SWARM";

/// A healthy replica of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) id: String,
    /// The published port on this machine.
    pub(crate) port: u16,
}

impl Swarm {
    /// Creates the swarm. If the test is not enabled, or Docker is missing or already in a swarm,
    /// it returns `None` and reports the test as skipped.
    pub(crate) fn begin() -> Option<Self> {
        if std::env::var_os(ENABLED_BY).is_none() {
            xtask_client::harness::skipped(ENABLED_BY);
            return None;
        }
        remove_leftover();
        let state = docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]);
        match state.as_ref().map(|state| state.trim()) {
            Ok("inactive") => {}
            Ok(state) => {
                xtask_client::harness::skipped(&format!("a Docker without a swarm, not `{state}`"));
                return None;
            }
            Err(error) => {
                eprintln!("{error}");
                xtask_client::harness::skipped("Docker");
                return None;
            }
        }
        let existing =
            ["image ls --format {{.Repository}}:{{.Tag}}", "network ls --format {{.Name}}"];
        let existing = existing.map(|args| docker(&args.split(' ').collect::<Vec<_>>()).unwrap());
        let before = existing.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
        let name = format!("{LABEL}-{}", std::process::id());
        let swarm = Self { name, before, images: Vec::new() };
        let loopback = "127.0.0.1";
        swarm.ask(&["swarm", "init", "--advertise-addr", loopback, "--listen-addr", loopback]);
        let label = format!("{LABEL}={}", swarm.name);
        let node = swarm.ask(&["info", "--format", "{{.Swarm.NodeID}}"]);
        swarm.ask(&["node", "update", "--label-add", &label, &node]);
        Some(swarm)
    }

    /// The address at which the kernel forwards connections to containers, as for remote callers.
    /// On loopback a proxy of the engine also accepts connections for stopped containers. It exists
    /// once a service runs.
    pub(crate) fn address(&self) -> String {
        let gateway = "{{(index .IPAM.Config 0).Gateway}}";
        self.ask(&["network", "inspect", GATEWAY, "--format", gateway])
    }

    /// The stack's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs Docker and returns its standard output.
    #[track_caller]
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        docker(args).unwrap_or_else(|error| panic!("`docker {}`: {error}", args.join(" ")))
    }

    /// Removes an image with the swarm, unless it existed before.
    pub(crate) fn will_remove(&mut self, image: &str) {
        self.images.push(image.to_owned());
    }

    /// Deploys the stack from these files.
    pub(crate) fn deploy(&self, files: &[PathBuf]) {
        let mut args = vec!["stack", "deploy", "--resolve-image", "never"];
        args.extend(files.iter().flat_map(|file| ["-c", file.to_str().unwrap()]));
        args.push(&self.name);
        self.ask(&args);
    }

    /// The healthy replicas of a service, newest first.
    pub(crate) fn healthy(&self, service: &str) -> Vec<Replica> {
        healthy(&self.name, service)
    }

    /// Waits until a job is complete.
    pub(crate) async fn await_complete(&self, job: &str) {
        let (begin, service) = (Instant::now(), format!("{}_{job}", self.name));
        let ask = ["service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}"];
        let mut ticks = tokio::time::interval(Duration::from_millis(300));
        loop {
            ticks.tick().await;
            let tasks = self.ask(&[&ask[..], &[&service]].concat());
            if tasks.lines().any(|line| line.starts_with("Complete")) {
                println!("{job} complete, after {} tries", tasks.lines().count());
                return;
            }
            assert!(begin.elapsed() < TIMEOUT, "{job}: {tasks}");
        }
    }

    /// Waits for that many healthy replicas.
    pub(crate) async fn await_healthy(&self, service: &str, count: usize) {
        self.await_replaced(service, &[], count).await;
    }

    /// Waits for that many healthy replicas, none of which is in `old`.
    pub(crate) async fn await_replaced(&self, service: &str, old: &[Replica], count: usize) {
        let begin = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(300));
        loop {
            ticks.tick().await;
            let seen = self.healthy(service);
            if seen.len() == count && !seen.iter().any(|replica| old.contains(replica)) {
                println!("{count} healthy replicas of {service} after {:?}", begin.elapsed());
                return;
            }
            if begin.elapsed() > TIMEOUT {
                let service = format!("{}_{service}", self.name);
                let logs = docker(&["service", "logs", "--tail", "20", &service]);
                let tasks = docker(&["service", "ps", "--no-trunc", &service]);
                panic!("only {seen:?} are healthy\n{tasks:?}\n{logs:?}");
            }
        }
    }
}

/// Removes the swarm of a killed test, with everything that it created.
fn remove_leftover() {
    let label = format!("{{{{index .Spec.Labels \"{LABEL}\"}}}}");
    let Ok(name) = docker(&["node", "inspect", "self", "--format", &label]) else { return };
    let Some(pid) = name.strip_prefix(LABEL).and_then(|rest| rest.strip_prefix('-')) else {
        return;
    };
    if !Path::new("/proc").join(pid).exists() {
        println!("removing the swarm of `{name}`, which was killed");
        let images = vec![database_of(&name)];
        drop(Swarm { name, before: BTreeSet::new(), images });
    }
}

/// The name of the database image of that stack.
pub(crate) fn database_of(stack: &str) -> String {
    format!("localhost/{stack}-postgres:test")
}

/// An event of a container in the engine's log.
#[derive(Clone, Debug)]
pub(crate) struct ContainerEvent {
    pub(crate) id: String,
    /// `kill` for a signal, `die` for its exit.
    pub(crate) action: String,
    pub(crate) at: SystemTime,
}

/// The signals and exits of all containers since that time.
pub(crate) fn container_events(since: SystemTime) -> Vec<ContainerEvent> {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string()
    };
    let (since, until) = (seconds(since), seconds(SystemTime::now() + Duration::from_secs(1)));
    let format = "{{.ID}} {{.Action}} {{.TimeNano}}";
    let about = ["--filter", "type=container", "--filter", "event=kill", "--filter", "event=die"];
    let window = ["events", "--since", &since, "--until", &until, "--format", format];
    let event = |line: &str| {
        let mut words = line.split(' ');
        let (id, action) = (words.next()?.to_owned(), words.next()?.to_owned());
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(words.next()?.parse().ok()?);
        Some(ContainerEvent { id, action, at })
    };
    let log = docker(&[&window[..], &about].concat()).unwrap_or_default();
    log.lines().filter_map(event).collect()
}

/// The healthy replicas of a service of that stack; empty if they cannot be listed.
pub(crate) fn healthy(stack: &str, service: &str) -> Vec<Replica> {
    let label = format!("label=com.docker.swarm.service.name={stack}_{service}");
    let format = "{{.ID}} {{.Ports}}";
    let args = ["ps", "--filter", &label, "--filter", "health=healthy", "--format", format];
    let replica = |line: &str| {
        let (id, ports) = line.split_once(' ')?;
        let port = ports.split_once("->")?.0.rsplit_once(':')?.1.parse().ok()?;
        Some(Replica { id: id.to_owned(), port })
    };
    docker(&args).unwrap_or_default().lines().filter_map(replica).collect()
}

fn docker(args: &[&str]) -> io::Result<String> {
    let Output { status, stdout, stderr } = Command::new("docker").args(args).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if status.success() { Ok(text(stdout)) } else { Err(io::Error::other(text(stderr))) }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        // Only a failure to leave the swarm is reported: the engine refuses to remove used objects.
        let label = format!("label=com.docker.stack.namespace={}", self.name);
        docker(&["stack", "rm", &self.name]).ok();
        let left = docker(&["swarm", "leave", "--force"]);
        let ids = |list: &[&str]| {
            docker(&[list, &["--quiet", "--filter", &label]].concat()).unwrap_or_default()
        };
        for id in ids(&["ps", "--all"]).lines() {
            docker(&["rm", "--force", "--volumes", id]).ok();
        }
        for volume in ids(&["volume", "ls"]).lines() {
            docker(&["volume", "rm", volume]).ok();
        }
        for image in self.images.iter().filter(|image| !self.before.contains(*image)) {
            docker(&["rmi", image]).ok();
        }
        if !self.before.contains(GATEWAY) {
            docker(&["network", "rm", GATEWAY]).ok();
        }
        if let Err(error) = left {
            eprintln!("failed to leave the swarm: {error}");
        }
    }
}
