//! A swarm of one machine that ends with the test, and a stack in it.
//!
//! It is begun only where the engine is in no swarm, so that nobody else's can be left. One of
//! a test that was killed is known by its label, and ended first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime};

/// For images to start and services to find one another.
const PATIENCE: Duration = Duration::from_secs(120);

/// Made by the engine for a swarm, and left behind by it.
const GATEWAY: &str = "docker_gwbridge";

/// The label of the swarm's only node, whose value is the stack's name.
const LABEL: &str = "swarm-test";

/// All that this test makes in the engine; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Swarm {
    name: String,
    /// What was there before stays.
    before: BTreeSet<String>,
    images: Vec<String>,
}

/// The variable by which somebody asks for a machine that is a swarm while the test runs.
const ASKED_FOR: &str = "E2E_SWARM";

/// One container of a service that is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) id: String,
    /// On this machine.
    pub(crate) port: u16,
}

impl Swarm {
    /// None, said aloud, if nobody asked for it, no Docker answers or it is in a swarm already.
    pub(crate) fn begin() -> Option<Self> {
        if std::env::var_os(ASKED_FOR).is_none() {
            xtask_client::harness::skipped(ASKED_FOR);
            return None;
        }
        end_what_was_left();
        let state = docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]);
        match state.as_ref().map(|state| state.trim()) {
            Ok("inactive") => {}
            Ok(state) => {
                xtask_client::harness::skipped(&format!("a Docker without a swarm, not `{state}`"));
                return None;
            }
            Err(said) => {
                eprintln!("{said}");
                xtask_client::harness::skipped("Docker");
                return None;
            }
        }
        let there = ["image ls --format {{.Repository}}:{{.Tag}}", "network ls --format {{.Name}}"];
        let there = there.map(|words| docker(&words.split(' ').collect::<Vec<_>>()).unwrap());
        let before = there.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
        let name = format!("{LABEL}-{}", std::process::id());
        let swarm = Self { name, before, images: Vec::new() };
        let here = "127.0.0.1";
        swarm.ask(&["swarm", "init", "--advertise-addr", here, "--listen-addr", here]);
        let label = format!("{LABEL}={}", swarm.name);
        let node = swarm.ask(&["info", "--format", "{{.Swarm.NodeID}}"]);
        swarm.ask(&["node", "update", "--label-add", &label, &node]);
        Some(swarm)
    }

    /// Where the machine is called so that the kernel passes on to a container, as for callers
    /// from elsewhere: on loopback a program of the engine accepts for those that are gone. It
    /// is there once a service is.
    pub(crate) fn address(&self) -> String {
        let gateway = "{{(index .IPAM.Config 0).Gateway}}";
        self.ask(&["network", "inspect", GATEWAY, "--format", gateway])
    }

    /// The stack's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What Docker prints for these arguments.
    #[track_caller]
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        docker(args).unwrap_or_else(|said| panic!("`docker {}`: {said}", args.join(" ")))
    }

    /// An image that goes with the swarm, unless it was there before.
    pub(crate) fn will_remove(&mut self, image: &str) {
        self.images.push(image.to_owned());
    }

    /// Brings the stack up, from all files together.
    pub(crate) fn deploy(&self, files: &[PathBuf]) {
        let mut args = vec!["stack", "deploy", "--resolve-image", "never"];
        args.extend(files.iter().flat_map(|file| ["-c", file.to_str().unwrap()]));
        args.push(&self.name);
        self.ask(&args);
    }

    /// The healthy copies of a service, the newest first.
    pub(crate) fn healthy(&self, service: &str) -> Vec<Copy> {
        healthy(&self.name, service)
    }

    /// Waits until a job has run to its end.
    pub(crate) async fn await_complete(&self, job: &str) {
        let (begin, service) = (Instant::now(), format!("{}_{job}", self.name));
        let ask = ["service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}"];
        let mut ticks = tokio::time::interval(Duration::from_millis(300));
        loop {
            ticks.tick().await;
            let said = self.ask(&[&ask[..], &[&service]].concat());
            if said.lines().any(|line| line.starts_with("Complete")) {
                println!("{job} complete, after {} tries", said.lines().count());
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{job}: {said}");
        }
    }

    /// Waits for that many healthy copies.
    pub(crate) async fn await_healthy(&self, service: &str, copies: usize) {
        self.await_replaced(service, &[], copies).await;
    }

    /// Waits until there are that many healthy copies and none of the old ones is left.
    pub(crate) async fn await_replaced(&self, service: &str, old: &[Copy], copies: usize) {
        let begin = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(300));
        loop {
            ticks.tick().await;
            let seen = self.healthy(service);
            if seen.len() == copies && !seen.iter().any(|copy| old.contains(copy)) {
                println!("{copies} healthy copies of {service} after {:?}", begin.elapsed());
                return;
            }
            if begin.elapsed() > PATIENCE {
                let service = format!("{}_{service}", self.name);
                let logs = docker(&["service", "logs", "--tail", "20", &service]);
                let tasks = docker(&["service", "ps", "--no-trunc", &service]);
                panic!("healthy are only {seen:?}\n{tasks:?}\n{logs:?}");
            }
        }
    }
}

/// Ends the swarm of a test like this one that no longer runs, with all that it made.
fn end_what_was_left() {
    let label = format!("{{{{index .Spec.Labels \"{LABEL}\"}}}}");
    let Ok(name) = docker(&["node", "inspect", "self", "--format", &label]) else { return };
    let Some(pid) = name.strip_prefix(LABEL).and_then(|rest| rest.strip_prefix('-')) else {
        return;
    };
    if !Path::new("/proc").join(pid).exists() {
        println!("ending the swarm of `{name}`, which was killed");
        let images = vec![database_of(&name)];
        drop(Swarm { name, before: BTreeSet::new(), images });
    }
}

/// The image of the database of that stack.
pub(crate) fn database_of(stack: &str) -> String {
    format!("localhost/{stack}-postgres:test")
}

/// Something that the engine did to a container.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) id: String,
    /// `kill` for a signal, `die` for its end.
    pub(crate) what: String,
    pub(crate) at: SystemTime,
}

/// The ends of all containers since then, and the signals before them.
pub(crate) fn log_of_ends(since: SystemTime) -> Vec<End> {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string()
    };
    let (since, until) = (seconds(since), seconds(SystemTime::now() + Duration::from_secs(1)));
    let format = "{{.ID}} {{.Action}} {{.TimeNano}}";
    let about = ["--filter", "type=container", "--filter", "event=kill", "--filter", "event=die"];
    let window = ["events", "--since", &since, "--until", &until, "--format", format];
    let end = |line: &str| {
        let mut words = line.split(' ');
        let (id, what) = (words.next()?.to_owned(), words.next()?.to_owned());
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(words.next()?.parse().ok()?);
        Some(End { id, what, at })
    };
    let log = docker(&[&window[..], &about].concat()).unwrap_or_default();
    log.lines().filter_map(end).collect()
}

/// The healthy containers of a service of that stack, none if they cannot be listed.
pub(crate) fn healthy(stack: &str, service: &str) -> Vec<Copy> {
    let label = format!("label=com.docker.swarm.service.name={stack}_{service}");
    let format = "{{.ID}} {{.Ports}}";
    let args = ["ps", "--filter", &label, "--filter", "health=healthy", "--format", format];
    let copy = |line: &str| {
        let (id, ports) = line.split_once(' ')?;
        let port = ports.split_once("->")?.0.rsplit_once(':')?.1.parse().ok()?;
        Some(Copy { id: id.to_owned(), port })
    };
    docker(&args).unwrap_or_default().lines().filter_map(copy).collect()
}

fn docker(args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(args).output().map_err(|error| error.to_string())?;
    let Output { status, stdout, stderr } = output;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        // The engine says what is in use; nothing is asked of a failed removal but the last.
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
        if let Err(said) = left {
            eprintln!("the swarm could not be left: {said}");
        }
    }
}
