//! Programs that judge objects for Kubernetes, and as much of a server as one of them asks.
//!
//! No cluster runs anything here. `kubectl create --dry-run=client` asks a server for one
//! thing only, which kinds there are in which version, so a thread of the test answers that,
//! with those kinds that the export writes, and refuses everything else.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

/// A judge, by what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// The published schemas, strictly: an unknown key is a mistake.
    Schemas,
    /// The types of `kubectl`, which reads every object into them to list its variables.
    Types,
    /// `kubectl create --dry-run=client`: kinds, their versions and their names.
    DryRun,
}

/// The kinds that the export writes: group, kind, and its name in a path.
const KINDS: [(&str, &str, &str); 5] = [
    ("", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "Secret", "secrets"),
    ("", "Service", "services"),
    ("apps", "Deployment", "deployments"),
    ("batch", "Job", "jobs"),
];

/// A mistake for each judge: text that a document may have, and what it is made into.
const MISTAKES: [(&str, &str); 2] = [("replicas: 3", "replicas: many"), ("batch/v1", "batch/v7")];

impl Judge {
    /// Every judge.
    pub const ALL: [Self; 3] = [Self::Schemas, Self::Types, Self::DryRun];

    /// Fails the test unless the judge takes the document in this file. One that is not on
    /// this machine is named and judges nothing.
    #[track_caller]
    pub fn takes(self, file: &Path) {
        let Some(output) = self.read(file) else { return };
        let text = std::fs::read_to_string(file).unwrap();
        let said = String::from_utf8([output.stdout.clone(), output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{self:?} refuses:\n{text}\n{said}");
        if self == Self::DryRun {
            let made: Vec<String> = objects(&text)
                .map(|(kind, name)| format!("{kind}/{name} created (dry run)"))
                .collect();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.lines().collect::<Vec<_>>(), made);
        }
    }

    /// Fails the test unless the judge refuses the document with a mistake that it knows.
    #[track_caller]
    pub fn refuses(self, file: &Path) {
        let text = std::fs::read_to_string(file).unwrap();
        let (right, wrong) = MISTAKES[usize::from(self == Self::DryRun)];
        let wrong = text.replace(right, wrong);
        assert_ne!(text, wrong, "`{right}` is missing");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wrong.yaml");
        std::fs::write(&file, &wrong).unwrap();
        let Some(output) = self.read(&file) else { return };
        assert!(!output.status.success(), "{self:?} takes:\n{wrong}");
    }

    /// What the judge says; none, said aloud, if it is not on this machine.
    fn read(self, file: &Path) -> Option<Output> {
        let ours = tempfile::tempdir().unwrap();
        let server = Server::start();
        let url = format!("http://{}", server.address);
        let mut judge = match self {
            Self::Schemas => Command::new("kubernetes-validate"),
            Self::Types | Self::DryRun => Command::new("kubectl"),
        };
        match self {
            Self::Schemas => judge.args(["--strict", "--no-warn"]),
            Self::Types => judge.args(["set", "env", "--local", "--list", "-f"]),
            // Neither the settings of who runs the test nor what a real server said is used.
            Self::DryRun => judge
                .args(["--kubeconfig", "/dev/null", "--server", &url, "--cache-dir"])
                .arg(ours.path())
                .args(["create", "--dry-run=client", "--validate=false", "-f"]),
        };
        match judge.arg(file).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                xtask_client::harness::skipped(&judge.get_program().to_string_lossy());
                None
            }
            output => Some(output.unwrap()),
        }
    }
}

/// The objects in a document, as `kubectl` names them: `deployment.apps` and its name.
fn objects(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.split("---\n").filter(|object| object.contains("kind: ")).map(|object| {
        let value = |key: &str| {
            let line = object.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("no `{key}` in:\n{object}"))
        };
        let kind = value("kind: ").to_lowercase();
        let named = match value("apiVersion: ").split_once('/') {
            Some((group, _)) => format!("{kind}.{group}"),
            None => kind,
        };
        (named, value("  name: "))
    })
}

/// Answers which kinds there are, and nothing else, until it is dropped.
struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let serve = move || {
            let callers = listener.incoming().map_while(Result::ok);
            // Each caller has a thread, so a slow caller delays no other.
            for caller in callers.take_while(|_| !ends.load(Ordering::Acquire)) {
                thread::spawn(move || answer(&caller));
            }
        };
        Self { address, over, thread: Some(thread::spawn(serve)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // A connection wakes the thread, which then checks `over`.
        drop(TcpStream::connect(self.address));
        self.thread.take().map(JoinHandle::join);
    }
}

/// Answers one request, if there is one.
fn answer(mut caller: &TcpStream) {
    let mut lines = BufReader::new(caller).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split(['?', ' ']).next());
    let (status, body) = match path.and_then(discovery) {
        Some(found) => ("200 OK", found),
        None => ("404 Not Found", json!({ "kind": "Status", "status": "Failure", "code": 404 })),
    };
    let body = body.to_string();
    let length = body.len();
    // One that has gone meanwhile needs no answer.
    let _ = write!(
        caller,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
}

/// The document at this path.
fn discovery(path: &str) -> Option<Value> {
    let group = match path {
        "/api" => return Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => {
            let groups = ["apps", "batch"].map(|name| {
                let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
                json!({ "name": name, "versions": [version], "preferredVersion": version })
            });
            return Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }));
        }
        "/api/v1" => "",
        path => path.strip_prefix("/apis/")?.strip_suffix("/v1")?,
    };
    let resources: Vec<Value> = KINDS
        .iter()
        .filter(|(of, ..)| *of == group)
        .map(|(_, kind, plural)| {
            let verbs = ["create", "get"];
            json!({ "name": plural, "kind": kind, "namespaced": true, "verbs": verbs })
        })
        .collect();
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
        "resources": resources
    }))
}
