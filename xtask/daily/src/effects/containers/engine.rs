//! The container engine: which one is installed, and one command of it at a time.
//!
//! It runs Docker or Podman through its command line. Callers choose the arguments. Text
//! that the engine prints is interpreted only here.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use xtask_control::chain;

use super::subnet::Subnet;
use crate::system::say;

/// The variable with the name or path of the engine to use.
const CHOICE: &str = "XTASK_ENGINE";

/// The engines to look for. The first one in `PATH` is used.
const KNOWN: [&str; 2] = ["docker", "podman"];

/// How long a daemon may take to answer the first command.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a query may take. A query that times out is asked once more, because a busy
/// engine may lose one.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

pub const PULL_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How long any other command may take. Importing an image takes a second or two.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// The first and the longest pause between two queries for the state of a container.
const PAUSES: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(500));

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    program: PathBuf,
    kind: EngineKind,
}

/// The command line that a program understands, whatever its file is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    #[default]
    Docker,
    Podman,
}

impl EngineKind {
    /// Reads what `--version` prints. A program that prints nothing known is used as Docker.
    fn of_version(printed: &[u8]) -> Self {
        let printed = String::from_utf8_lossy(printed).to_lowercase();
        if printed.contains("podman") { Self::Podman } else { Self::Docker }
    }
}

/// Why there is no engine, or why one of its commands failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("no container engine: neither `docker` nor `podman` is in `PATH`")]
    Missing,
    /// The user chose an engine that is not installed.
    #[error("no container engine: `{chosen}`, which `{CHOICE}` names, is not in `PATH`")]
    NotFound { chosen: String },
    #[error("`{engine}` is installed, but its daemon does not answer: {message}")]
    NotResponding { engine: String, message: String },
    #[error("failed to run `{command}`")]
    Run { command: String, source: std::io::Error },
    #[error("`{command}` failed: {message}")]
    Failed { command: String, message: String },
    /// Every range of addresses for networks is taken.
    #[error("`{command}` failed: {message}")]
    NoAddresses { command: String, message: String },
    #[error("`{command}` did not end within {} seconds", after.as_secs())]
    TimedOut { command: String, after: Duration },
}

impl EngineError {
    /// What the user can do, if that does not depend on the command.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing => Some("install `docker.io` or `podman`; processes need neither"),
            Self::NotFound { .. } => Some(
                "install it, or unset the variable; `docker` and `podman` are found without it",
            ),
            Self::NotResponding { .. } => {
                Some("start the daemon and look at `docker info`; processes need none")
            }
            Self::Run { .. }
            | Self::Failed { .. }
            | Self::NoAddresses { .. }
            | Self::TimedOut { .. } => None,
        }
    }

    /// Whether no container can be made at all.
    pub fn is_absence(&self) -> bool {
        self.hint().is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningContainer {
    /// The process id of its first process on this machine; 0 if the engine runs elsewhere.
    pub init: u32,
    /// Its address in the stack's network.
    pub address: Option<IpAddr>,
}

impl RunningContainer {
    fn read(answer: &str) -> Option<Self> {
        let mut words = answer.strip_prefix("running ")?.split_whitespace();
        let init = words.next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        Some(Self { init, address: words.next().and_then(|ip| ip.parse().ok()) })
    }
}

impl Engine {
    /// The program of the chosen engine, or else of the first in `PATH`.
    pub fn path() -> Result<PathBuf, EngineError> {
        if let Some(chosen) = std::env::var_os(CHOICE).filter(|chosen| !chosen.is_empty()) {
            return which::which(&chosen).map_err(|_| EngineError::NotFound {
                chosen: chosen.to_string_lossy().into_owned(),
            });
        }
        KNOWN.iter().find_map(|name| which::which(name).ok()).ok_or(EngineError::Missing)
    }

    /// The program of an engine of this kind: the chosen one, or else the first in `PATH`. If there
    /// is none, its name, which then fails to run.
    pub fn program_of(kind: EngineKind) -> PathBuf {
        if std::env::var_os(CHOICE).is_some_and(|chosen| !chosen.is_empty())
            && let Ok(chosen) = Self::path()
        {
            return chosen;
        }
        // Podman is also installed as `docker`.
        let names = match kind {
            EngineKind::Docker => ["docker", "docker"],
            EngineKind::Podman => ["podman", "docker"],
        };
        names.iter().find_map(|name| which::which(name).ok()).unwrap_or(names[0].into())
    }

    /// The engine at [`Engine::path`], which is asked what it is: Podman is also installed as
    /// `docker`. Its daemon may not run.
    pub async fn find() -> Result<Self, EngineError> {
        let mut engine = Self { program: Self::path()?, kind: EngineKind::default() };
        let version = engine.output(&["--version"], &[], &[], VERSION_TIMEOUT).await?;
        engine.kind = EngineKind::of_version(&version.stdout);
        Ok(engine)
    }

    /// As [`Engine::find`], and waits until its daemon answers.
    pub async fn answering() -> Result<Self, EngineError> {
        let engine = Self::find().await?;
        let silent = |message| EngineError::NotResponding { engine: engine.name(), message };
        match engine.output(&["version"], &[], &[], VERSION_TIMEOUT).await {
            Ok(output) if output.status.success() => Ok(engine),
            Ok(output) => Err(silent(message(&output.stderr))),
            Err(EngineError::TimedOut { after, .. }) => {
                Err(silent(format!("no answer within {} seconds", after.as_secs())))
            }
            Err(error) => Err(error),
        }
    }

    /// The engine that [`Engine::find`] returned earlier.
    pub fn at(program: PathBuf, kind: EngineKind) -> Self {
        Self { program, kind }
    }

    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Whether this is Podman. Some arguments and answers differ.
    pub fn is_podman(&self) -> bool {
        self.kind == EngineKind::Podman
    }

    /// The arguments that remove containers at once, without their names.
    pub fn removal(&self) -> Vec<&'static str> {
        let mut args = vec!["rm", "--force", "--volumes"];
        if self.is_podman() {
            args.push("--time=0");
        }
        args
    }

    /// Runs a command and returns its standard output.
    pub async fn run(&self, args: &[&str]) -> Result<String, EngineError> {
        self.run_with_input(args, &[]).await
    }

    /// As [`Engine::run`], for a command that changes nothing and answers fast.
    pub async fn query(&self, args: &[&str]) -> Result<String, EngineError> {
        match self.printed(args, &[], &[], QUERY_TIMEOUT).await {
            Err(EngineError::TimedOut { .. }) => self.printed(args, &[], &[], QUERY_TIMEOUT).await,
            answered => answered,
        }
    }

    /// Whether an image of that name is stored here.
    pub async fn has_image(&self, name: &str) -> Result<bool, EngineError> {
        match self.query(&["image", "inspect", "--format", "{{.Id}}", name]).await {
            Ok(_) => Ok(true),
            Err(EngineError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn pull(&self, image: &str) -> Result<(), EngineError> {
        self.printed(&["pull", "--quiet", image], &[], &[], PULL_TIMEOUT).await.map(drop)
    }

    /// As [`Engine::run`], with bytes on its standard input.
    pub async fn run_with_input(&self, args: &[&str], input: &[u8]) -> Result<String, EngineError> {
        self.printed(args, input, &[], COMMAND_TIMEOUT).await
    }

    /// As [`Engine::run_with_input`], with variables for the command line itself.
    pub async fn run_with_env(
        &self,
        args: &[&str],
        input: &[u8],
        variables: &[(String, String)],
    ) -> Result<String, EngineError> {
        self.printed(args, input, variables, COMMAND_TIMEOUT).await
    }

    async fn printed(
        &self,
        args: &[&str],
        input: &[u8],
        variables: &[(String, String)],
        timeout: Duration,
    ) -> Result<String, EngineError> {
        let output = self.output(args, input, variables, timeout).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
        }
        let (command, message) = (self.line(args), message(&output.stderr));
        Err(match lacks_addresses(&message) {
            true => EngineError::NoAddresses { command, message },
            false => EngineError::Failed { command, message },
        })
    }

    /// Runs a command that may fail.
    pub async fn try_run(&self, args: &[&str]) -> Result<Output, EngineError> {
        self.output(args, &[], &[], COMMAND_TIMEOUT).await
    }

    /// Removes a container at once, if it exists. A failure is logged, and the container is
    /// removed with its stack.
    pub async fn remove(&self, name: &str) {
        let Err(error) = self.run(&[&self.removal()[..], &[name]].concat()).await else { return };
        if self.query(&["container", "inspect", "--format", "{{.Id}}", name]).await.is_ok() {
            say(&format!("failed to remove container `{name}`: {}", chain(&error)));
        }
    }

    /// Waits until a container runs, and reports each other state that lasts.
    pub async fn wait_until_running(&self, name: &str, report: impl Fn(&str)) -> RunningContainer {
        let (mut pause, longest) = PAUSES;
        let format = "{{.State.Status}} {{.State.Pid}} \
                      {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let mut reported = String::new();
        loop {
            tokio::time::sleep(pause).await;
            let state = self.query(&["container", "inspect", "--format", format, name]).await;
            let state = state.unwrap_or_else(|error| chain(&error));
            if let Some(running) = RunningContainer::read(&state) {
                return running;
            }
            // Most containers run before the longest pause.
            if pause == longest && reported != state {
                report(&format!("its container does not run yet: {state}"));
                reported = state;
            }
            pause = (pause * 3 / 2).min(longest);
        }
    }

    /// The address on this machine that the engine publishes for a port of a container.
    pub async fn published(&self, name: &str, port: u16) -> Option<SocketAddr> {
        let answer = self.query(&["port", name, &format!("{port}/tcp")]).await.ok()?;
        answer.lines().next()?.trim().parse().ok()
    }

    /// Whether a network with this label and name exists: of a start that failed half way,
    /// or because something in it could not be removed.
    pub async fn has_network(&self, label: &str, name: &str) -> bool {
        let filter = format!("label={label}");
        let list = ["network", "ls", "--filter", &filter, "--format", "{{.Name}}"];
        self.query(&list).await.is_ok_and(|names| names.lines().any(|line| line == name))
    }

    /// Whether the engine runs without root, with networks in a namespace of its own.
    pub async fn is_rootless(&self) -> Result<bool, EngineError> {
        let format = match self.is_podman() {
            true => "{{if .Host.Security.Rootless}}rootless{{end}}",
            false => "{{.SecurityOptions}}",
        };
        Ok(self.query(&["info", "--format", format]).await?.contains("rootless"))
    }

    /// The IPv4 addresses of a network; none if this machine has no address in it.
    pub(crate) async fn subnet(&self, network: &str) -> Result<Option<Subnet>, EngineError> {
        let format = match self.is_podman() {
            true => "{{range .Subnets}}{{.Subnet}},{{.Gateway}} {{end}}",
            false => "{{range .IPAM.Config}}{{.Subnet}},{{.Gateway}} {{end}}",
        };
        let answer = self.query(&["network", "inspect", "--format", format, network]).await?;
        Ok(answer.split_whitespace().find_map(Subnet::parse))
    }

    async fn output(
        &self,
        args: &[&str],
        input: &[u8],
        variables: &[(String, String)],
        timeout: Duration,
    ) -> Result<Output, EngineError> {
        let failed = |source| EngineError::Run { command: self.line(args), source };
        let mut child = Command::new(&self.program)
            .args(args)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdin = child.stdin.take();
        let write = async {
            if let Some(mut stdin) = stdin {
                // A command that fails may not read its whole input.
                let _ = stdin.write_all(input).await;
            }
        };
        let end = async { tokio::join!(write, child.wait_with_output()).1 };
        match tokio::time::timeout(timeout, end).await {
            Ok(output) => output.map_err(failed),
            Err(_) => Err(EngineError::TimedOut { command: self.line(args), after: timeout }),
        }
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The command line for messages, without options and names.
    fn line(&self, args: &[&str]) -> String {
        let words = args.iter().take_while(|arg| !arg.starts_with('-')).take(2);
        words.fold(self.name(), |line, word| line + " " + word)
    }
}

/// Whether a message of Docker or Podman is about the ranges of addresses for networks.
fn lacks_addresses(message: &str) -> bool {
    [
        "non-overlapping IPv4 address pool",
        "predefined address pools have been fully subnetted",
        "free subnet from subnet pools",
        "free network subnet",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// What Podman prints before everything when it is called as `docker`.
const EMULATION: &str = "Emulate Docker CLI using podman";

/// The standard error of a command, on one line and without the engine's prefix.
fn message(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(EMULATION))
        .collect();
    let text = lines.join("; ");
    let prefixes = ["Error response from daemon: ", "error: ", "Error: "];
    let text = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(&text);
    if text.is_empty() { "it printed no message".to_string() } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_is_known_by_its_version() {
        let kind = |printed: &str| EngineKind::of_version(printed.as_bytes());
        assert_eq!(kind("Docker version 28.2.2, build e6534b4"), EngineKind::Docker);
        assert_eq!(kind("podman version 4.3.1"), EngineKind::Podman);
        assert_eq!(kind(""), EngineKind::Docker);
    }

    #[test]
    fn message_leaves_out_the_note_about_emulation() {
        let stderr = b"Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet \
                       msg.\nError: no such network\n";
        assert_eq!(message(stderr), "no such network");
    }
}
