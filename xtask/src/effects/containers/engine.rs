//! The container engine: which one there is, and one command of it at a time.
//!
//! It knows no containers and no images: arguments come from those who do. A command is
//! told what it said on standard error, and is given up after a time.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::system::say;

/// The variable that names another engine than the first one found, or its path.
const CHOICE: &str = "XTASK_ENGINE";

/// The engines that are looked for, the first one found being used.
const KNOWN: [&str; 2] = ["docker", "podman"];

/// How long a daemon may take to say that it is there.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a question may take that changes nothing. It is asked once more: an engine that
/// is busy, or lost one, answers the next.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an image may take to come from its registry.
pub(crate) const PULL_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How long any other command may take; an image is fed to the engine in a second or two.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// A command line that makes and runs containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    program: PathBuf,
}

/// Why there is no engine, or what it refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// No program of that kind is installed.
    #[error("no container engine: neither `docker` nor `podman` is in `PATH`")]
    Missing,
    /// Somebody has chosen one that is not there.
    #[error("no container engine: `{chosen}`, which `{CHOICE}` names, is not in `PATH`")]
    NotFound {
        /// What was chosen.
        chosen: String,
    },
    /// It is installed and cannot do anything now.
    #[error("`{engine}` is installed, but its daemon does not answer: {said}")]
    NotResponding {
        /// The engine's program.
        engine: String,
        /// Its words.
        said: String,
    },
    /// It could not be started, or its answer not be read.
    #[error("cannot run `{command}`")]
    Run {
        /// The command line.
        command: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// It refused.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// The command line.
        command: String,
        /// Its words.
        said: String,
    },
    /// It did not end.
    #[error("`{command}` did not end within {} seconds", after.as_secs())]
    TimedOut {
        /// The command line.
        command: String,
        /// How long it was waited for.
        after: Duration,
    },
}

impl EngineError {
    /// The way out, where there is one that holds for everybody.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing => Some("install `docker.io` or `podman`; processes need neither"),
            Self::NotFound { .. } => {
                Some("install it, or unset the variable; `docker` and `podman` are found without")
            }
            Self::NotResponding { .. } => {
                Some("start the daemon and look at `docker info`; processes need none")
            }
            Self::Run { .. } | Self::Failed { .. } | Self::TimedOut { .. } => None,
        }
    }

    /// Whether no container can be made at all.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Missing | Self::NotFound { .. } | Self::NotResponding { .. } => true,
            Self::Run { .. } | Self::Failed { .. } | Self::TimedOut { .. } => false,
        }
    }
}

impl Engine {
    /// The engine that was chosen, or else the first in `PATH`; whether it answers is not known
    /// yet.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find() -> Result<Self, EngineError> {
        if let Some(chosen) = std::env::var_os(CHOICE).filter(|chosen| !chosen.is_empty()) {
            let program = which::which(&chosen).map_err(|_| EngineError::NotFound {
                chosen: chosen.to_string_lossy().into_owned(),
            })?;
            return Ok(Self { program });
        }
        let found = KNOWN.iter().find_map(|name| which::which(name).ok());
        found.map(|program| Self { program }).ok_or(EngineError::Missing)
    }

    /// As [`Engine::find`], once its daemon has answered.
    ///
    /// # Errors
    /// When there is none, or its daemon does not answer.
    pub(crate) async fn answering() -> Result<Self, EngineError> {
        let engine = Self::find()?;
        let silent = |said| EngineError::NotResponding { engine: engine.name(), said };
        match engine.output(&["version"], &[], &[], VERSION_TIMEOUT).await {
            Ok(output) if output.status.success() => Ok(engine),
            Ok(output) => Err(silent(words(&output.stderr))),
            Err(EngineError::TimedOut { after, .. }) => {
                Err(silent(format!("nothing came for {} seconds", after.as_secs())))
            }
            Err(error) => Err(error),
        }
    }

    /// The engine at this path, as [`Engine::find`] found it before.
    pub(crate) fn at(program: PathBuf) -> Self {
        Self { program }
    }

    /// Its program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Whether it is Podman, which differs where its containers run without root.
    pub(crate) fn is_podman(&self) -> bool {
        self.name() == "podman"
    }

    /// Words that remove containers at once, without a time to stop; their names follow.
    pub(crate) fn removal(&self) -> Vec<&'static str> {
        let mut words = vec!["rm", "--force", "--volumes"];
        if self.is_podman() {
            words.push("--time=0");
        }
        words
    }

    /// Runs a command and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be run, does not end, or fails.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<String, EngineError> {
        self.run_with_input(args, &[]).await
    }

    /// What the engine answers to a question that changes nothing.
    ///
    /// # Errors
    /// As for [`Engine::run`], after a much shorter time.
    pub(crate) async fn query(&self, args: &[&str]) -> Result<String, EngineError> {
        let output = match self.output(args, &[], &[], QUERY_TIMEOUT).await {
            Err(EngineError::TimedOut { .. }) => self.output(args, &[], &[], QUERY_TIMEOUT).await,
            answered => answered,
        };
        self.printed(args, output?)
    }

    /// Whether an image of that name is here.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) async fn has_image(&self, name: &str) -> Result<bool, EngineError> {
        match self.query(&["image", "inspect", "--format", "{{.Id}}", name]).await {
            Ok(_) => Ok(true),
            Err(EngineError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gets an image from its registry.
    ///
    /// # Errors
    /// As for [`Engine::run`], after a much longer time.
    pub(crate) async fn pull(&self, image: &str) -> Result<(), EngineError> {
        let args = ["pull", "--quiet", image];
        self.printed(&args, self.output(&args, &[], &[], PULL_TIMEOUT).await?).map(drop)
    }

    /// As [`Engine::run`], with bytes on its standard input.
    ///
    /// # Errors
    /// As for [`Engine::run`].
    pub(crate) async fn run_with_input(
        &self,
        args: &[&str],
        input: &[u8],
    ) -> Result<String, EngineError> {
        self.printed(args, self.output(args, input, &[], COMMAND_TIMEOUT).await?)
    }

    /// As [`Engine::run`], with variables for the command line itself.
    ///
    /// # Errors
    /// As for [`Engine::run`].
    pub(crate) async fn run_with_env(
        &self,
        args: &[&str],
        variables: &[(String, String)],
    ) -> Result<String, EngineError> {
        self.printed(args, self.output(args, &[], variables, COMMAND_TIMEOUT).await?)
    }

    fn printed(&self, args: &[&str], output: Output) -> Result<String, EngineError> {
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
        }
        Err(EngineError::Failed { command: self.line(args), said: words(&output.stderr) })
    }

    /// Runs a command to its end, well or not.
    ///
    /// # Errors
    /// When it cannot be run, or does not end.
    pub(crate) async fn try_run(&self, args: &[&str]) -> Result<Output, EngineError> {
        self.output(args, &[], &[], COMMAND_TIMEOUT).await
    }

    /// Removes a container at once, if it is still there. One that stays is said, and is removed
    /// with its stack.
    pub(crate) async fn remove(&self, name: &str) {
        let Err(error) = self.run(&[&self.removal()[..], &[name]].concat()).await else { return };
        if self.query(&["container", "inspect", "--format", "{{.Id}}", name]).await.is_ok() {
            say(&format!("container `{name}` is left: {error}"));
        }
    }

    async fn output(
        &self,
        args: &[&str],
        input: &[u8],
        variables: &[(String, String)],
        patience: Duration,
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
        let mut stdin = child.stdin.take();
        let whole = async {
            let write = async {
                if let Some(mut stdin) = stdin.take() {
                    // A command that refuses does not read to the end; it says why itself.
                    let _ = stdin.write_all(input).await;
                }
            };
            tokio::join!(write, child.wait_with_output()).1
        };
        match tokio::time::timeout(patience, whole).await {
            Ok(output) => output.map_err(failed),
            Err(_) => Err(EngineError::TimedOut { command: self.line(args), after: patience }),
        }
    }

    /// What it is called.
    fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The beginning of a command line: the rest is long and says little.
    fn line(&self, args: &[&str]) -> String {
        let words = args.iter().take_while(|arg| !arg.starts_with('-')).take(2);
        std::iter::once(self.name())
            .chain(words.map(ToString::to_string))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// What a command said, on one line and without its own prefix.
fn words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("; ");
    let prefixes = ["Error response from daemon: ", "error: ", "Error: "];
    let text = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(&text);
    if text.is_empty() { "it said nothing".to_string() } else { text.to_string() }
}
