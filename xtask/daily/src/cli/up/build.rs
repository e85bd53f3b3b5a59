//! Runs cargo once and reads its JSON messages, artifact by artifact.
//!
//! Cargo writes its messages for users to the terminal itself. Without a terminal a pipe forwards
//! them.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, PipeReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use xtask_core::plan::{self, Plan, Program, Target};
use xtask_core::stack::LinkedProgram;
use xtask_core::terms::Name;

use super::library_path::LibraryPath;
use super::{cargo_lines, earlier, failed_build};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::cli::load::Loaded;
use crate::cli::plan_args::ProgramArgs;
use crate::cli::stack::cargo_for;
use crate::cli::{print, screen};
use crate::system::task::spawn_blocking;
use crate::view::style::WARN;
use crate::workspace;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// A program is linked; `fresh` if it was up to date.
    Linked { services: Vec<Name>, program: LinkedProgram, fresh: bool },
    /// A program is missing and will not be built.
    Missing { services: Vec<Name>, message: String },
    /// The build has ended; `ok` if every program was built.
    Ended { ok: bool },
}

impl BuildEvent {
    fn with_library_path(mut self, libraries: &LibraryPath) -> Self {
        if let Self::Linked { program, .. } = &mut self {
            *program = libraries.of(std::mem::take(&mut program.path));
        }
        self
    }
}

pub enum Build {
    Cargo(Box<Cargo>),
    /// The programs of an earlier build, still without their search paths.
    Earlier {
        events: VecDeque<BuildEvent>,
        libraries: Box<LibraryPath>,
    },
    /// The events are known without cargo.
    Known(VecDeque<BuildEvent>),
}

pub struct Cargo {
    child: Child,
    messages: BufReader<ChildStdout>,
    /// The received part of a line. It survives a cancelled read.
    partial: Vec<u8>,
    targets: Vec<Target>,
    libraries: LibraryPath,
    target_folder: PathBuf,
    /// The profile that the command line names and the root's manifest does not declare.
    undeclared_profile: Option<String>,
    /// Whether cargo has accepted the command.
    began: bool,
    /// Forwards cargo's messages for users.
    relay: Option<JoinHandle<()>>,
    ended: bool,
}

impl Build {
    /// Starts the build of a command, or finds the programs of an earlier one with `--no-build`.
    pub fn of(loaded: &Loaded, args: &ProgramArgs, keep_going: bool) -> anyhow::Result<Self> {
        // Without a program of cargo, nothing has to be found. The plan has no build then.
        let mut programs = loaded.plan.services.iter().map(|service| &service.program);
        let has_built = programs.any(|program| matches!(program, Program::Artifact { .. }));
        match args.no_build && has_built {
            true => Self::earlier(loaded, args.build.profile()),
            false => Self::start(loaded, keep_going),
        }
    }

    /// Starts the plan's build. With `keep_going` cargo continues after a failure.
    pub fn start(loaded: &Loaded, keep_going: bool) -> anyhow::Result<Self> {
        let Loaded { plan, files, .. } = loaded;
        let Some(build) = &plan.build else {
            return Ok(Self::Known(VecDeque::from([BuildEvent::Ended { ok: true }])));
        };
        let words = ["build", "--message-format=json-render-diagnostics"];
        let words = words.into_iter().chain(build.args.iter().map(String::as_str));
        let mut command = Command::from(cargo_for(Path::new(&plan.workspace), words));
        if keep_going {
            command.arg("--keep-going");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        // A group of its own, so that its compilers can be ended with it.
        command.process_group(0);
        let relay = match (screen::is_on(), std::io::stderr().is_terminal()) {
            // Cargo's progress is one of the live lines.
            (true, _) => {
                let (reader, writer) = std::io::pipe().context("failed to create a pipe")?;
                command.stderr(writer);
                cargo_lines::ask_for_progress(command.as_std_mut());
                Some(spawn_blocking(|| cargo_lines::forward(reader)))
            }
            (false, true) => None,
            // Cargo fails on a broken pipe. Forwarding ignores it.
            (false, false) => {
                let (reader, writer) = std::io::pipe().context("failed to create a pipe")?;
                command.stderr(writer);
                Some(spawn_blocking(|| forward(reader)))
            }
        };
        let mut child = command.spawn().map_err(workspace::no_cargo)?;
        let stdout = child.stdout.take().context("cargo was started without a pipe")?;
        Ok(Self::Cargo(Box::new(Cargo {
            child,
            messages: BufReader::with_capacity(64 * 1024, stdout),
            partial: Vec::new(),
            targets: build.targets.clone(),
            libraries: LibraryPath::new(files),
            target_folder: files.target_directory.clone(),
            undeclared_profile: failed_build::undeclared_profile(&build.args, &files.workspace),
            began: false,
            relay,
            ended: false,
        })))
    }

    /// Finds the programs that an earlier build with this profile left.
    fn earlier(loaded: &Loaded, profile: &str) -> anyhow::Result<Self> {
        let Loaded { plan, files, .. } = loaded;
        let folder = earlier::folder(plan, &files.target_directory, profile)?;
        let mut libraries = LibraryPath::new(files);
        libraries.add_earlier(&folder);
        let mut events = VecDeque::new();
        let mut ok = true;
        for service in &plan.services {
            let Program::Artifact { binary, .. } = &service.program else { continue };
            let services = vec![service.name.clone()];
            let path = folder.join(binary);
            let shown = path.display().to_string();
            if path.is_file() {
                let program = shown.into();
                events.push_back(BuildEvent::Linked { services, program, fresh: true });
            } else {
                ok = false;
                let message = format!("`{shown}` does not exist, and `--no-build` skips the build");
                events.push_back(BuildEvent::Missing { services, message });
            }
        }
        events.push_back(BuildEvent::Ended { ok });
        Ok(Self::Earlier { events, libraries: Box::new(libraries) })
    }

    /// Waits for the next event; forever after the end. Cancel safe.
    pub async fn next(&mut self) -> anyhow::Result<BuildEvent> {
        let next = match self {
            Self::Known(events) => events.pop_front(),
            Self::Earlier { events, libraries } => {
                libraries.prepared().await;
                events.pop_front().map(|event| event.with_library_path(libraries))
            }
            Self::Cargo(cargo) => return cargo.next().await,
        };
        match next {
            Some(event) => Ok(event),
            None => std::future::pending().await,
        }
    }

    /// Passes the services and each linked program to `take` until the build ends. A
    /// failed build is an error. A signal stops the build and becomes the error.
    pub async fn programs(
        &mut self,
        interrupts: &mut Interrupts,
        mut take: impl AsyncFnMut(Vec<Name>, LinkedProgram) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let all = async {
            loop {
                match self.next().await? {
                    BuildEvent::Linked { services, program, .. } => take(services, program).await?,
                    BuildEvent::Missing { message, .. } => {
                        print::progress(WARN, "Missing", &message);
                    }
                    BuildEvent::Ended { ok: true } => return Ok(()),
                    BuildEvent::Ended { ok: false } => {
                        return Err(Error::Reported(Exit::BUILD).into());
                    }
                }
            }
        };
        let exit = tokio::select! {
            ended = all => return ended,
            exit = interrupts.next() => exit,
        };
        self.stop().await;
        Err(Error::Reported(exit).into())
    }

    /// The pid of cargo, which leads its own process group; none if it has exited.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Cargo(cargo) => cargo.child.id(),
            Self::Earlier { .. } | Self::Known(_) => None,
        }
    }

    /// Interrupts the build and waits until cargo has exited.
    pub async fn stop(&mut self) {
        if let Self::Cargo(cargo) = self
            && let Some(pid) = cargo.child.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::INT);
            let _ = cargo.child.wait().await;
            cargo.ended = true;
        }
    }
}

impl Cargo {
    async fn next(&mut self) -> anyhow::Result<BuildEvent> {
        if self.ended {
            return std::future::pending().await;
        }
        self.libraries.prepared().await;
        loop {
            let read = self.messages.read_until(b'\n', &mut self.partial).await;
            if read.context("failed to read cargo's messages")? == 0 && self.partial.is_empty() {
                let status = self.child.wait().await.context("failed to wait for cargo")?;
                // Cargo's last messages precede those of this tool.
                if let Some(relay) = &mut self.relay {
                    let _ = relay.await;
                    self.relay = None;
                }
                self.ended = true;
                let ok = status.success();
                let failure = failed_build::explain(status, &self.target_folder);
                match (failure.filter(|_| !ok), &self.undeclared_profile) {
                    (Some(failure), _) => print::error(&failure.message, Some(failure.hint)),
                    (None, Some(profile)) if !ok && !self.began => print::hint(&format!(
                        "omit the profile, or declare it in the root's Cargo.toml: \
                         `[profile.{profile}]` with `inherits = \"dev\"`"
                    )),
                    (None, _) => {}
                }
                return Ok(BuildEvent::Ended { ok });
            }
            let line = std::mem::take(&mut self.partial);
            let Ok(message) = serde_json::from_slice::<Message>(&line) else { continue };
            self.began = true;
            if message.reason == "build-script-executed" {
                self.libraries.add(message.linked_paths);
            } else if let Some(event) = linked(message, &self.targets) {
                return Ok(event.with_library_path(&self.libraries));
            }
        }
    }
}

/// Copies to standard error. After a write error it reads the rest and drops it.
fn forward(mut reader: PipeReader) {
    let mut part = [0; 4096];
    let mut writable = true;
    while let Ok(length @ 1..) = reader.read(&mut part) {
        writable = writable && std::io::stderr().write_all(&part[..length]).is_ok();
    }
}

/// The fields that this tool reads from cargo's messages.
#[derive(Deserialize)]
pub struct Message {
    pub reason: String,
    pub package_id: Option<String>,
    pub target: Option<MessageTarget>,
    executable: Option<String>,
    #[serde(default)]
    pub filenames: Vec<String>,
    /// What a build script named in `rustc-link-search`.
    #[serde(default)]
    pub linked_paths: Vec<String>,
    #[serde(default)]
    pub fresh: bool,
    /// A warning or error of a compiler.
    pub message: Option<Diagnostic>,
}

#[derive(Deserialize)]
pub struct MessageTarget {
    pub name: String,
    pub kind: Vec<String>,
}

#[derive(Deserialize)]
pub struct Diagnostic {
    pub level: String,
    /// As the compiler shows it in a terminal.
    pub rendered: Option<String>,
}

/// The event of an artifact that a service runs.
pub fn linked(message: Message, targets: &[Target]) -> Option<BuildEvent> {
    let (path, target) = (message.executable?, message.target?);
    if message.reason != "compiler-artifact" || !target.kind.iter().any(|kind| kind == "bin") {
        return None;
    }
    let wanted = targets.iter().find(|wanted| {
        wanted.binary == target.name && Some(&wanted.package_id) == message.package_id.as_ref()
    })?;
    let (services, program) = (wanted.services.clone(), path.into());
    Some(BuildEvent::Linked { services, program, fresh: message.fresh })
}

pub fn programs(plan: &Plan) -> usize {
    plan.build.as_ref().map_or(0, |build: &plan::Build| build.targets.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Vec<Target> {
        vec![Target {
            package_id: "path+file:///w/a#0.1.0".to_string(),
            package: "a".to_string(),
            binary: "a-server".to_string(),
            services: vec!["one".into(), "two".into()],
        }]
    }

    fn message(package: &str, name: &str, kind: &str, executable: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"{package}","manifest_path":"x",
            "target":{{"kind":["{kind}"],"name":"{name}","src_path":"x"}},"profile":{{}},
            "features":[],"filenames":[],"executable":{executable},"fresh":true}}"#
        )
    }

    fn parsed(message: &str) -> Option<BuildEvent> {
        linked(serde_json::from_str(message).unwrap(), &targets())
    }

    #[test]
    fn only_planned_binaries_are_linked() {
        let id = "path+file:///w/a#0.1.0";
        let path = "\"/t/debug/a-server\"";
        assert_eq!(
            parsed(&message(id, "a-server", "bin", path)),
            Some(BuildEvent::Linked {
                services: vec!["one".into(), "two".into()],
                program: "/t/debug/a-server".to_string().into(),
                fresh: true,
            })
        );
        for other in [
            message("other", "a-server", "bin", path),
            message(id, "a-client", "bin", path),
            message(id, "a-server", "lib", "null"),
            r#"{"reason":"build-finished","success":true}"#.to_string(),
        ] {
            assert_eq!(parsed(&other), None, "{other}");
        }
    }
}
