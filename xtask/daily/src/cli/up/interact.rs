//! What the keys of an `up` on a terminal do.
//!
//! A restart runs this same program with `restart`, so that it builds, checks and reports as that
//! command does. Results are printed above the live lines, where they scroll as everything else.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regex_lite::Regex;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use xtask_control::called_as::{self, CALLED_AS_VARIABLE};
use xtask_control::protocol::{Answer, Ask, Reply, Request};
use xtask_core::snapshot::ServiceSnapshot;
use xtask_core::terms::Name;

use super::bring_up::BringUp;
use super::live::LiveEvent;
use super::live::keys::Key;
use super::live::prompt::{Outcome, Prompt, Purpose};
use super::logs::Logs;
use crate::cli::exit::Exit;
use crate::cli::status::measure;
use crate::cli::{browser, print};
use crate::session::own_program;
use crate::system::task;
use crate::view::style::{BAD, BUSY, WARN};
use crate::view::{self, status};

/// The keys, as `?` prints them.
const HELP: &str = "\
r  build a service and restart it
w  build each edit of the sources and run it, or no longer
s  show the status of all services
l  show the log of one service, or of all
f  show only log lines that match a regular expression
o  open a page of the services in the browser
q  stop, as Ctrl-C does
?  show these keys
Ctrl-Z stops this command, not the services; `fg` continues it";

/// What the keys have started.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// The number of the request whose answer is printed.
    status: Option<u64>,
    /// The restarts that are running. Dropped, they end.
    restarts: Vec<Restart>,
    only: Option<Name>,
    filter: Option<String>,
}

#[derive(Debug)]
struct Restart {
    service: String,
    has_ended: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Restart {
    fn drop(&mut self) {
        // The task owns the process, which is killed with it.
        self.task.abort();
    }
}

impl BringUp<'_> {
    /// Draws the live lines.
    pub(super) fn draw(&mut self) {
        let Self { plan, session, live, actions, .. } = self;
        live.states = actions.states();
        live.states.extend(session.snapshot.watch.as_ref().map(view::watch::state));
        let services: Vec<&ServiceSnapshot> = plan
            .services
            .iter()
            .filter_map(|service| session.snapshot.service(&service.name))
            .collect();
        live.draw(&plan.stack, &services, session.launched);
    }

    /// Takes a message of the supervisor.
    pub(super) fn take(&mut self, answer: Answer) -> anyhow::Result<()> {
        let is_asked = self.actions.status.is_some_and(|id| id == answer.id);
        if is_asked {
            self.actions.status = None;
            if let Reply::Snapshot(snapshot) = &answer.reply {
                let mut snapshot = snapshot.clone();
                measure(&mut snapshot);
                print::out(&status::status(&snapshot))?;
            }
        }
        self.apply(answer.reply)
    }

    /// Does what a key asks for. Returns the exit code if it ends the command.
    pub(super) async fn act(
        &mut self,
        event: LiveEvent,
        logs: Option<&mut Logs>,
    ) -> anyhow::Result<Option<Exit>> {
        match event {
            LiveEvent::Redraw => {}
            // The answer has the callers that wait.
            LiveEvent::Tick => {
                self.session
                    .connection
                    .send(Request::Status { ask: Ask::No, sockets: true })
                    .await?;
            }
            LiveEvent::Key(key) => {
                if self.press(key, logs).await? {
                    return Ok(Some(Exit::DONE));
                }
            }
        }
        self.draw();
        Ok(None)
    }

    /// Returns whether the key ends the command.
    async fn press(&mut self, key: Key, logs: Option<&mut Logs>) -> anyhow::Result<bool> {
        if let Some(prompt) = &mut self.live.prompt {
            let purpose = prompt.purpose;
            match prompt.press(key) {
                Outcome::Open => {}
                Outcome::Cancelled => self.live.prompt = None,
                Outcome::Answered(text) => {
                    self.live.prompt = None;
                    self.answered(purpose, text, logs)?;
                }
            }
            return Ok(false);
        }
        match key {
            Key::Char('q') => return Ok(true),
            Key::Char('?' | 'h') => {
                for line in HELP.lines() {
                    print::line(&format!("  {line}"));
                }
            }
            Key::Char('s') => {
                let ask = Request::Status { ask: Ask::All, sockets: true };
                self.actions.status = Some(self.session.connection.send(ask).await?);
            }
            Key::Char('w') => self.toggle_watching().await,
            Key::Char('r') => self.choose(Purpose::Restart, |service| service.wanted, logs)?,
            Key::Char('l') => self.choose(Purpose::Log, |_| true, logs)?,
            Key::Char('o') => self.choose(Purpose::Open, |service| service.open.is_some(), logs)?,
            Key::Char('f') => {
                self.live.prompt = Some(Prompt::new(Purpose::Filter, Vec::new()));
            }
            Key::Char(other) => {
                print::line(&format!("  `{other}` is no key; ? shows the keys"));
            }
            // Users press it to separate log lines.
            Key::Enter => print::line(""),
            Key::Tab | Key::Backspace | Key::Clear | Key::Escape => {}
        }
        Ok(false)
    }

    /// Asks which of the services is meant. One page needs no question.
    fn choose(
        &mut self,
        purpose: Purpose,
        is_choice: impl Fn(&ServiceSnapshot) -> bool,
        logs: Option<&mut Logs>,
    ) -> anyhow::Result<()> {
        let services = self.session.snapshot.services.iter().filter(|service| is_choice(service));
        let mut names: Vec<String> = services.map(|service| service.name.to_string()).collect();
        names.sort();
        match (purpose, names.as_slice()) {
            (Purpose::Open, []) => {
                print::line("  no service has a page: `open = \"/\"` in its metadata names one");
                Ok(())
            }
            (_, []) => {
                print::line("  no service runs yet");
                Ok(())
            }
            (Purpose::Open, [one]) => self.answered(purpose, one.clone(), logs),
            (_, _) => {
                self.live.prompt = Some(Prompt::new(purpose, names));
                Ok(())
            }
        }
    }

    fn answered(
        &mut self,
        purpose: Purpose,
        text: String,
        logs: Option<&mut Logs>,
    ) -> anyhow::Result<()> {
        match purpose {
            Purpose::Restart => self.restart(text),
            Purpose::Open => {
                let service = self.session.snapshot.service(&text);
                if let Some(page) = service.and_then(|service| service.open.as_deref()) {
                    browser::open(page);
                }
            }
            Purpose::Log => {
                let only = (!text.is_empty()).then(|| Name::from(text.as_str()));
                if let Some(logs) = logs {
                    logs.show_only(only.as_ref(), &self.session.paths)?;
                }
                self.actions.only = only;
            }
            Purpose::Filter => match Regex::new(&text) {
                Ok(filter) => {
                    if let Some(logs) = logs {
                        logs.filter((!text.is_empty()).then_some(filter));
                    }
                    self.actions.filter = (!text.is_empty()).then_some(text);
                }
                Err(error) => {
                    let text = error.to_string();
                    let reason = text.lines().last().unwrap_or_default();
                    let text = format!("`f` expects a regular expression: {reason}");
                    print::progress(WARN, "Unchanged", &text);
                }
            },
        }
        Ok(())
    }

    /// Starts this program with a command for the stack, with its messages in a pipe.
    fn spawn(&self, words: &[&str]) -> std::io::Result<Child> {
        let mut command = Command::new(own_program().map_err(std::io::Error::other)?);
        let colour = if print::has_colour() { "always" } else { "never" };
        command.args(words).args(["--color", colour, "--stack", &self.plan.stack]);
        command.arg("--manifest-path").arg(format!("{}/Cargo.toml", self.plan.workspace));
        command.env(CALLED_AS_VARIABLE, called_as::name());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true).spawn()
    }

    /// Writes the page about the start. Its failure is reported, and changes nothing.
    pub(super) async fn write_page(&self) {
        match self.spawn(&["timings"]) {
            Ok(mut child) => print_messages(&mut child).await,
            Err(error) => {
                print::progress(BAD, "Failed", &format!("to start `timings`: {error}"));
            }
        }
    }

    /// Runs `restart` for a service, and prints its messages.
    fn restart(&mut self, service: String) {
        if self.actions.restarts.iter().any(|restart| restart.service == service) {
            print::progress(WARN, "Restarting", &format!("{service} already"));
            return;
        }
        print::progress(BUSY, "Restarting", &service);
        match self.spawn(&["restart", &service]) {
            Ok(mut child) => {
                let has_ended = Arc::new(AtomicBool::new(false));
                let (ended, changed) = (Arc::clone(&has_ended), Arc::clone(&self.live.changed));
                let task = task::spawn(async move {
                    print_messages(&mut child).await;
                    ended.store(true, Ordering::Relaxed);
                    changed.notify_one();
                });
                self.actions.restarts.push(Restart { service, has_ended, task });
            }
            Err(error) => {
                print::progress(BAD, "Failed", &format!("to start `restart {service}`: {error}"));
            }
        }
    }
}

/// Prints the messages of a command of this program until it has exited.
async fn print_messages(child: &mut Child) {
    if let Some(messages) = child.stderr.take() {
        let mut lines = BufReader::new(messages).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            print::line(&line);
        }
    }
    let _ = child.wait().await;
}

impl Actions {
    /// The states that the last live line shows.
    fn states(&mut self) -> Vec<String> {
        self.restarts.retain(|restart| !restart.has_ended.load(Ordering::Relaxed));
        let restarts = self.restarts.iter().map(|restart| format!("restarts {}", restart.service));
        let only = self.only.iter().map(|name| format!("log of {name}"));
        let filter = self.filter.iter().map(|text| format!("lines with `{text}`"));
        restarts.chain(only).chain(filter).collect()
    }
}
