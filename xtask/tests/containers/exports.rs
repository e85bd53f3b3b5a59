//! What `export` writes, applied to the engine that is here.
//!
//! Kubernetes is not here: `kubernetes.rs` holds its objects against the published schemas.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::engine::Made;
use xtask_test_support::{Fixture, PackageSpec, eventually, free_port, get};

/// Answers with what it was given, asks itself with `--probe`, and with `once` is a job that
/// asks the service and keeps the answer.
const PROGRAM: &str = r#"
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn ask(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains(" 200 ").then_some(answer)
}

fn main() {
    let value = |name: &str| std::env::var(name).unwrap_or_default();
    match std::env::args().nth(1).as_deref() {
        Some("--probe") => {
            let answer = ask(&format!("127.0.0.1:{}", value("PORT")));
            std::process::exit(i32::from(answer.is_none()));
        }
        Some("once") => {
            let address = format!("{}:{}", value("COUNTER_HOST"), value("COUNTER_PORT"));
            let answer = ask(&address).expect("the service does not answer");
            std::fs::write(value("KEEP"), answer).expect("cannot keep the answer");
            return;
        }
        _ => {}
    }
    let listener = TcpListener::bind((value("HOST").as_str(), value("PORT").parse().unwrap())).unwrap();
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut head = [0; 1024];
        let _ = stream.read(&mut head);
        let token = std::fs::read_to_string(value("API_TOKEN_FILE")).unwrap_or_default();
        let kept = std::fs::read_to_string(value("KEEP")).is_ok();
        let said = format!("price {} token {token} kept {kept}", value("PRICE"));
        let length = said.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}");
    }
}
"#;

/// A service and a job that waits for it, not written yet.
pub(super) fn shop(name: &str, port: u16) -> Fixture {
    let counter = format!(
        "[package.metadata.service]\nname = \"counter\"\nport = {port}\nready = {{ http = \"/\" }}\n\
         self-probe = [\"--probe\"]\ndeploy = {{ memory = \"32M\", cpus = 0.5, env = {{ PRICE = \"5$$\" }} }}\n\
         env = {{ PRICE = \"4$$\", API_TOKEN = \"hush\", KEEP = \"${{stack.data}}/kept\" }}\n"
    );
    let once = "[package.metadata.service]\nname = \"once\"\nkind = \"job\"\nargs = [\"once\"]\n\
                depends-on = [\"counter\"]\nenv = { KEEP = \"${stack.data}/kept\" }\n";
    Fixture::new(name)
        .package(
            PackageSpec::new("counter", "counter")
                .bin("counterd", PROGRAM)
                .metadata(counter.as_str()),
        )
        .package(PackageSpec::new("once", "once").bin("onced", PROGRAM).metadata(once))
}

/// The Compose tool, either as a plugin or alone.
fn compose(made: &Made) -> Option<Vec<String>> {
    if !made.is_docker() {
        xtask_client::harness::skipped("Docker");
        return None;
    }
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    if plugin.is_ok_and(|output| output.status.success()) {
        return Some(words(&["docker", "compose"]));
    }
    let found = which::which("docker-compose").is_ok();
    if !found {
        xtask_client::harness::skipped("the Compose tool");
    }
    found.then(|| words(&["docker-compose"]))
}

/// A project that is gone, with its volumes, when this is dropped.
struct Project {
    tool: Vec<String>,
    name: String,
    file: std::path::PathBuf,
}

impl Project {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.tool[0]);
        command.args(&self.tool[1..]).args(["-p", &self.name, "-f"]).arg(&self.file).args(args);
        command.output().unwrap()
    }

    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "`{args:?}` failed: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(self.run(&["down", "--volumes", "--timeout", "2"]));
    }
}

#[test]
fn exported_compose_file_runs_the_same_graph() {
    let port = free_port();
    let fixture = shop("Export shop", port).write();
    let Some(made) = Made::by(&fixture) else { return };
    let Some(tool) = compose(&made) else { return };
    let out = fixture.root().join("out");
    let out_text = out.to_string_lossy().into_owned();
    let written = fixture.xtask(&["export", "compose", "--output", &out_text, "--json"]);
    let written = written.ends_with(0).json();
    assert_eq!(written["differences"], serde_json::json!([]), "{written:#}");
    let printed = fixture.xtask(&["export", "compose", "--json"]).ends_with(0).json();
    assert!(printed["document"].as_str().unwrap().contains("services:"), "{printed:#}");
    assert!(is_private(&out.join("secrets")));

    let name = format!("xtask-export-{}", std::process::id());
    let project = Project { tool, name, file: out.join("compose.yaml") };
    project.done(&["up", "-d"]);
    // The job waits until the service is healthy, and has run when its answer is kept.
    let kept = || get(port, "/").filter(|answer| answer.body.contains("kept true"));
    let answer = eventually(Duration::from_secs(60), "the job keeps the answer", kept);
    assert_eq!((answer.status, answer.body.as_str()), (200, "price 5$ token hush kept true"));

    let id = project.done(&["ps", "-q", "counter"]);
    let inspect = |format: &str| made.ask(&["inspect", "--format", format, &id]);
    assert_eq!(inspect("{{.State.Health.Status}}"), "healthy");
    assert_eq!(inspect("{{.HostConfig.ReadonlyRootfs}}"), "true");
    assert_eq!(inspect("{{.HostConfig.Memory}}"), (32 << 20).to_string());
    assert_eq!(inspect("{{.Config.User}}"), "10001:10001");
}

fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777 == 0o700
}

#[test]
fn export_prints_no_secrets() {
    let fixture = shop("Export shop", 0).write();
    let Some(_made) = Made::by(&fixture) else { return };
    for target in ["compose", "swarm", "kubernetes"] {
        let ran = fixture.xtask(&["export", target]).ends_with(0);
        assert!(ran.stdout.contains("image: localhost/export-shop/counter:"), "{ran}");
        assert!(!format!("{ran}").contains("hush"), "{ran}");
        assert!(ran.stderr.contains("contains secrets"), "{ran}");
    }
}
