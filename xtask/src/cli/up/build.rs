//! The one cargo call of an `up`: its messages, artifact by artifact.
//!
//! What cargo has to say to people goes straight to their terminal, or on to where they want
//! it; only its messages for programs are read here. What follows from an artifact is decided
//! elsewhere.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, PipeReader, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::{JoinHandle, spawn_blocking};
use xtask_client::inherited::is_of_cargo;
use xtask_core::plan::{self, Plan, Program, Target};
use xtask_core::terms::Name;

use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::cli::locate::cargo;

/// Something that came of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BuildEvent {
    /// A program is there.
    Linked {
        /// The services that run it.
        services: Vec<Name>,
        /// Where cargo put it.
        path: String,
        /// Whether cargo had nothing to do for it.
        fresh: bool,
    },
    /// A program is not there and will not be.
    Missing {
        /// The services that run it.
        services: Vec<Name>,
        /// One line.
        message: String,
    },
    /// Nothing more comes.
    Ended {
        /// Whether all went well.
        ok: bool,
    },
}

/// A build under way.
pub(crate) enum Build {
    /// By cargo.
    Cargo(Box<Cargo>),
    /// Without cargo: what is known already.
    Known(VecDeque<BuildEvent>),
}

/// A running cargo.
pub(crate) struct Cargo {
    child: Child,
    messages: BufReader<ChildStdout>,
    /// The line that is being received; kept here so that a cancelled wait loses nothing.
    partial: Vec<u8>,
    targets: Vec<Target>,
    /// Passes on what cargo says to people.
    relay: Option<JoinHandle<()>>,
    ended: bool,
}

impl Build {
    /// Starts what the plan says. With `keep_going` cargo builds what it can after a
    /// failure.
    ///
    /// # Errors
    /// When cargo cannot be started.
    pub(crate) fn start(plan: &Plan, keep_going: bool) -> anyhow::Result<Self> {
        let Some(build) = &plan.build else {
            return Ok(Self::Known(VecDeque::from([BuildEvent::Ended { ok: true }])));
        };
        let cargo = cargo();
        let mut command = Command::new(&cargo);
        command.args(["build", "--message-format=json-render-diagnostics"]).args(&build.args);
        if keep_going {
            command.arg("--keep-going");
        }
        command.current_dir(&plan.workspace);
        clean_environment(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        // A group of its own, so that its compilers can be ended with it.
        command.process_group(0);
        let relay = match std::io::stderr().is_terminal() {
            true => None,
            // Cargo fails when nobody reads what it says, and that is no reason to fail.
            false => {
                let (said, ear) = std::io::pipe().context("cannot make a pipe")?;
                command.stderr(ear);
                Some(spawn_blocking(|| pass_on(said)))
            }
        };
        let mut child =
            command.spawn().with_context(|| format!("cannot start `{}`", cargo.display()))?;
        let stdout = child.stdout.take().context("cargo has no standard output")?;
        Ok(Self::Cargo(Box::new(Cargo {
            child,
            messages: BufReader::with_capacity(64 * 1024, stdout),
            partial: Vec::new(),
            targets: build.targets.clone(),
            relay,
            ended: false,
        })))
    }

    /// Takes the programs that an earlier build with this profile left in
    /// `target_folder`.
    pub(crate) fn of_earlier_programs(plan: &Plan, target_folder: &Path, profile: &str) -> Self {
        let folder = target_folder.join(profile_folder(profile));
        let mut events = VecDeque::new();
        let mut ok = true;
        for service in &plan.services {
            let Program::Artifact { binary, .. } = &service.program else { continue };
            let services = vec![service.name.clone()];
            let path = folder.join(binary);
            let shown = path.display().to_string();
            if path.is_file() {
                events.push_back(BuildEvent::Linked { services, path: shown, fresh: true });
            } else {
                ok = false;
                let message = format!("there is no `{shown}`, and `--no-build` was given");
                events.push_back(BuildEvent::Missing { services, message });
            }
        }
        events.push_back(BuildEvent::Ended { ok });
        Self::Known(events)
    }

    /// Waits for what comes next; for ever once it has ended. Nothing is lost when the
    /// wait is given up.
    ///
    /// # Errors
    /// When cargo's messages cannot be read.
    pub(crate) async fn next(&mut self) -> anyhow::Result<BuildEvent> {
        match self {
            Self::Known(events) => match events.pop_front() {
                Some(event) => Ok(event),
                None => std::future::pending().await,
            },
            Self::Cargo(cargo) => cargo.next().await,
        }
    }

    /// As [`Build::next`], until somebody wants to end: then the build is stopped, and how
    /// this process is to end comes instead.
    ///
    /// # Errors
    /// As for [`Build::next`].
    pub(crate) async fn next_unless(
        &mut self,
        interrupts: &mut Interrupts,
    ) -> anyhow::Result<Result<BuildEvent, Exit>> {
        let exit = tokio::select! {
            event = self.next() => return Ok(Ok(event?)),
            exit = interrupts.next() => exit,
        };
        self.stop().await;
        Ok(Err(exit))
    }

    /// The process of cargo, which leads a group of its own; none if it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Cargo(cargo) => cargo.child.id(),
            Self::Known(_) => None,
        }
    }

    /// Ends a build that nobody wants any more, and waits for it.
    pub(crate) async fn stop(&mut self) {
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
        loop {
            let read = self.messages.read_until(b'\n', &mut self.partial).await;
            if read.context("cannot read cargo's messages")? == 0 && self.partial.is_empty() {
                let status = self.child.wait().await.context("cannot wait for cargo")?;
                // Its last words come before ours.
                if let Some(relay) = &mut self.relay {
                    let _ = relay.await;
                    self.relay = None;
                }
                self.ended = true;
                return Ok(BuildEvent::Ended { ok: status.success() });
            }
            let line = std::mem::take(&mut self.partial);
            if let Some(event) = linked(&line, &self.targets) {
                return Ok(event);
            }
        }
    }
}

/// Writes to standard error what comes, as long as somebody reads there, and takes the rest.
fn pass_on(mut said: PipeReader) {
    let mut part = [0; 4096];
    let mut heard = true;
    while let Ok(length @ 1..) = said.read(&mut part) {
        heard = heard && std::io::stderr().write_all(&part[..length]).is_ok();
    }
}

/// The part of cargo's messages that matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<MessageTarget>,
    executable: Option<String>,
    #[serde(default)]
    fresh: bool,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
    kind: Vec<String>,
}

fn linked(line: &[u8], targets: &[Target]) -> Option<BuildEvent> {
    let message: Message = serde_json::from_slice(line).ok()?;
    let (path, target) = (message.executable?, message.target?);
    if message.reason != "compiler-artifact" || !target.kind.iter().any(|kind| kind == "bin") {
        return None;
    }
    let wanted = targets.iter().find(|wanted| {
        wanted.binary == target.name && Some(&wanted.package_id) == message.package_id.as_ref()
    })?;
    Some(BuildEvent::Linked { services: wanted.services.clone(), path, fresh: message.fresh })
}

/// Variables that cargo set for this program and that mean something else to the
/// build: a build script that looks at them would run again each time.
fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_cargo) {
            command.env_remove(&name);
        }
    }
}

/// The folder that cargo uses for a profile.
pub(super) fn profile_folder(profile: &str) -> &str {
    match profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        other => other,
    }
}

/// How many programs a plan wants built.
pub(crate) fn programs(plan: &Plan) -> usize {
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

    #[test]
    fn only_the_wanted_binary_of_the_wanted_package_counts() {
        let id = "path+file:///w/a#0.1.0";
        let path = "\"/t/debug/a-server\"";
        assert_eq!(
            linked(message(id, "a-server", "bin", path).as_bytes(), &targets()),
            Some(BuildEvent::Linked {
                services: vec!["one".into(), "two".into()],
                path: "/t/debug/a-server".to_string(),
                fresh: true,
            })
        );
        for other in [
            message("other", "a-server", "bin", path),
            message(id, "a-client", "bin", path),
            message(id, "a-server", "lib", "null"),
            r#"{"reason":"build-finished","success":true}"#.to_string(),
            "not json".to_string(),
        ] {
            assert_eq!(linked(other.as_bytes(), &targets()), None, "{other}");
        }
    }

    #[test]
    fn each_profile_has_its_folder() {
        assert_eq!(profile_folder("dev"), "debug");
        assert_eq!(profile_folder("release"), "release");
        assert_eq!(profile_folder("tuned"), "tuned");
    }
}
