//! One build of a watcher. Its messages become lines: what cargo repeats about programs that are up
//! to date is left out, so that an edit which builds nothing says nothing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use xtask_core::plan::{Plan, Target};
use xtask_core::stack::LinkedProgram;
use xtask_core::terms::Name;

use crate::watch::contents::ScriptTime;
use xtask::cli::stack::cargo_for;
use xtask::cli::up::build::{BuildEvent, Message, linked};
use xtask::cli::up::failed_build;
use xtask::cli::up::library_path::LibraryPath;
use xtask::workspace::WorkspaceFiles;

/// What a user reads first while cargo waits for another build.
const BLOCKED: &str = "Blocking waiting for file lock";

#[derive(Debug)]
pub(super) enum CargoEvent {
    /// A line for the user, with colours.
    Line(String),
    /// A warning that does not belong to a compiled package; cargo repeats it in each build.
    Warning(String),
    /// Cargo waits for a lock; the line says for which.
    Blocked(String),
    Program(BuiltProgram),
    Ended(Ended),
}

#[derive(Clone, Debug)]
pub(super) struct BuiltProgram {
    pub(super) services: Vec<Name>,
    pub(super) program: LinkedProgram,
    /// Whether it was up to date.
    pub(super) fresh: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) ok: bool,
    /// The first error, in one line.
    pub(super) error: Option<String>,
    pub(super) scripts: ScriptTime,
}

/// A line that cargo wrote.
enum Output {
    /// To standard output: a message in JSON.
    Message(Vec<u8>),
    /// To standard error.
    Text(String),
}

pub(super) struct CargoBuild {
    child: Child,
    output: UnboundedReceiver<Output>,
    targets: Vec<Target>,
    libraries: LibraryPath,
    target_folder: PathBuf,
    events: VecDeque<CargoEvent>,
    /// Warnings of packages that are not compiled yet.
    held: Vec<(String, String)>,
    error: Option<String>,
    scripts: ScriptTime,
}

impl CargoBuild {
    /// Starts cargo; none if the plan has nothing to build. Call this inside the runtime.
    pub(super) fn start(plan: &Plan, files: &WorkspaceFiles) -> anyhow::Result<Option<Self>> {
        let Some(build) = &plan.build else { return Ok(None) };
        let words = ["build", "--message-format=json-diagnostic-rendered-ansi"];
        let words = words.into_iter().chain(build.args.iter().map(String::as_str));
        let mut command = Command::from(cargo_for(Path::new(&plan.workspace), words));
        command.env("CARGO_TERM_COLOR", "always").env("CARGO_TERM_PROGRESS_WHEN", "never");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that its compilers can be ended with it.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().context("failed to start cargo")?;
        let (sender, output) = unbounded_channel();
        if let Some(stdout) = child.stdout.take() {
            read(stdout, sender.clone(), Output::Message);
        }
        if let Some(stderr) = child.stderr.take() {
            read(stderr, sender, |line| Output::Text(String::from_utf8_lossy(&line).into_owned()));
        }
        let now = SystemTime::now();
        Ok(Some(Self {
            child,
            output,
            targets: build.targets.clone(),
            libraries: LibraryPath::new(files),
            target_folder: files.target_directory.clone(),
            events: VecDeque::new(),
            held: Vec::new(),
            error: None,
            scripts: ScriptTime { began: now, ended: now },
        }))
    }

    /// Cargo's pid, which leads its own process group; none if it has exited.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the next event. [`CargoEvent::Ended`] is the last one. Cancel safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<CargoEvent> {
        self.libraries.prepared().await;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            match self.output.recv().await {
                Some(Output::Message(line)) => self.message(&line),
                Some(Output::Text(line)) => self.text(line),
                None => {
                    let status = self.child.wait().await.context("failed to wait for cargo")?;
                    let ok = status.success();
                    for (_, text) in std::mem::take(&mut self.held).into_iter().filter(|_| !ok) {
                        self.lines(&text);
                    }
                    let failure = failed_build::explain(status, &self.target_folder);
                    if let Some(failure) = failure.filter(|_| !ok) {
                        self.lines(&format!("error: {}", failure.message));
                        self.lines(&format!("  hint: {}", failure.hint));
                        self.error.get_or_insert(failure.message);
                    }
                    let (error, scripts) = (self.error.take(), self.scripts);
                    self.events.push_back(CargoEvent::Ended(Ended { ok, error, scripts }));
                }
            }
        }
    }

    fn message(&mut self, line: &[u8]) {
        let Ok(mut message) = serde_json::from_slice::<Message>(line) else { return };
        match message.reason.as_str() {
            "compiler-message" => {
                let unit = unit(&message);
                let Some(diagnostic) = message.message else { return };
                let Some(text) = diagnostic.rendered else { return };
                if diagnostic.level == "error" {
                    self.error.get_or_insert_with(|| summary(&text));
                    self.release(&unit);
                    self.lines(&text);
                } else {
                    self.held.push((unit, text));
                }
            }
            "compiler-artifact" => {
                let unit = unit(&message);
                match message.fresh {
                    true => self.held.retain(|(of, _)| *of != unit),
                    false => self.release(&unit),
                }
                if let Some(BuildEvent::Linked { services, program, fresh }) =
                    linked(message, &self.targets)
                {
                    let program = self.libraries.of(program.path);
                    let program = BuiltProgram { services, program, fresh };
                    self.events.push_back(CargoEvent::Program(program));
                }
            }
            "build-script-executed" => {
                self.libraries.add(std::mem::take(&mut message.linked_paths));
                self.scripts.ended = SystemTime::now();
            }
            _ => {}
        }
    }

    fn text(&mut self, line: String) {
        let plain = anstream::adapter::strip_str(&line).to_string();
        let plain = plain.trim();
        if plain.starts_with(BLOCKED) {
            self.events.push_back(CargoEvent::Blocked(line));
        } else if plain.starts_with("warning: `") && plain.contains("` (") {
            // How many warnings a package has, also if it is up to date.
        } else if plain.starts_with("warning:") {
            self.events.push_back(CargoEvent::Warning(line));
        } else if !plain.starts_with("Finished ") && !plain.is_empty() {
            if plain.starts_with("error") {
                self.error.get_or_insert_with(|| plain.to_owned());
            }
            self.events.push_back(CargoEvent::Line(line));
        }
    }

    /// Shows the warnings of a package that was compiled.
    fn release(&mut self, unit: &str) {
        let (shown, held) =
            std::mem::take(&mut self.held).into_iter().partition(|(of, _)| of == unit);
        self.held = held;
        let shown: Vec<(String, String)> = shown;
        shown.iter().for_each(|(_, text)| self.lines(text));
    }

    fn lines(&mut self, text: &str) {
        self.events.extend(text.lines().map(|line| CargoEvent::Line(line.to_owned())));
    }
}

/// The part of a package that a message is about.
fn unit(message: &Message) -> String {
    let package = message.package_id.as_deref().unwrap_or_default();
    let target = message.target.as_ref();
    let target = target.map(|target| format!("{} {}", target.name, target.kind.join(",")));
    format!("{package} {}", target.unwrap_or_default())
}

/// The message of a diagnostic and its place, in one line.
fn summary(rendered: &str) -> String {
    let plain = anstream::adapter::strip_str(rendered).to_string();
    let first = plain.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let place = plain.lines().find_map(|line| line.trim().strip_prefix("--> "));
    match place {
        Some(place) => format!("{first} ({place})"),
        None => first.to_owned(),
    }
}

/// Sends each line of a pipe.
fn read(
    pipe: impl AsyncRead + Unpin + Send + 'static,
    sender: UnboundedSender<Output>,
    output: impl Fn(Vec<u8>) -> Output + Send + 'static,
) {
    tokio::spawn(async move {
        let mut lines = BufReader::with_capacity(64 * 1024, pipe).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            if sender.send(output(line)).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_names_the_place_of_an_error() {
        let text =
            "\x1b[1merror[E0425]\x1b[0m: cannot find value `x`\n   --> src/main.rs:2:5\n    |\n";
        assert_eq!(summary(text), "error[E0425]: cannot find value `x` (src/main.rs:2:5)");
        assert_eq!(summary("error: linking failed"), "error: linking failed");
    }
}
