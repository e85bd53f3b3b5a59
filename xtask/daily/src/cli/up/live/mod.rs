//! The live lines of an `up` on a terminal, and its keys.
//!
//! Keys are read only if all three standard streams are the terminal and the command is in its
//! foreground. A command in the background prints plainly, and has its lines and keys once it is in
//! the foreground. Ctrl-Z restores the terminal before it stops the command.
//!
//! This module knows which lines to show. `interact.rs` does what the keys ask for.

pub(super) mod keys;
pub(super) mod prompt;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use xtask_core::sorted::SortedMap;

use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use xtask_core::snapshot::{Phase, ServiceSnapshot};
use xtask_core::terms::Name;

use self::keys::{Key, decode};
use self::prompt::Prompt;
use crate::cli::screen;
use crate::system::async_fd::async_fd;
use crate::system::terminal::{self, Read};
use crate::system::wait_if_some;
use crate::view::live::{Live as Lines, lines};

/// How often the times are drawn again while something is in progress, and how often a command in
/// the background looks whether it is in the foreground.
const TICK: Duration = Duration::from_secs(1);

/// What happened on the terminal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LiveEvent {
    Key(Key),
    /// The lines may have changed.
    Redraw,
    /// A second passed while services are in progress.
    Tick,
}

/// The live lines of one command. Dropped, it removes them and restores the terminal.
pub(crate) struct Live {
    terminal: Option<Terminal>,
    /// The phase and run of each service, and since when.
    since: SortedMap<Name, (Phase, u64, Instant)>,
    is_busy: bool,
    pub(super) prompt: Option<Prompt>,
    /// What the last line shows beside the services.
    pub(super) states: Vec<String>,
    /// Notified when a state has changed.
    pub(super) changed: Arc<Notify>,
}

struct Terminal {
    /// Standard input, if keys are read.
    input: Option<AsyncFd<OwnedFd>>,
    /// Keys that were read and not handled yet.
    pressed: std::collections::VecDeque<Key>,
    is_in_foreground: bool,
    next_tick: Instant,
    stop: Signal,
    proceed: Signal,
    resize: Signal,
}

impl Live {
    /// No live lines.
    pub(crate) fn off() -> Self {
        Self {
            terminal: None,
            since: SortedMap::new(),
            is_busy: false,
            prompt: None,
            states: Vec::new(),
            changed: Arc::default(),
        }
    }

    /// Live lines if the terminal can show them, and with `reads_keys` also keys.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub(crate) fn start(reads_keys: bool) -> io::Result<Self> {
        if !screen::is_possible() {
            return Ok(Self::off());
        }
        let input = match reads_keys && terminal::is_on_all_streams() {
            true => io::stdin().as_fd().try_clone_to_owned().and_then(async_fd).ok(),
            false => None,
        };
        terminal::restore_on_abort();
        let mut terminal = Terminal {
            input,
            pressed: std::collections::VecDeque::new(),
            is_in_foreground: false,
            next_tick: Instant::now() + TICK,
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            proceed: signal(SignalKind::from_raw(libc::SIGCONT))?,
            resize: signal(SignalKind::window_change())?,
        };
        terminal.enter();
        let mut live = Self::off();
        live.terminal = Some(terminal);
        Ok(live)
    }

    /// Waits for the next event; forever without live lines. Cancel safe.
    pub(super) async fn next(&mut self) -> LiveEvent {
        match &mut self.terminal {
            Some(terminal) => tokio::select! {
                event = terminal.next(self.is_busy) => event,
                () = self.changed.notified() => LiveEvent::Redraw,
            },
            None => std::future::pending().await,
        }
    }

    /// Takes the present state of a service.
    pub(super) fn note(&mut self, service: &ServiceSnapshot) {
        if self.terminal.is_none() {
            return;
        }
        let now = (service.phase, service.run);
        match self.since.get(&service.name) {
            Some((phase, run, _)) if (*phase, *run) == now => {}
            _ => {
                let since = (service.phase, service.run, Instant::now());
                self.since.insert(service.name.clone(), since);
            }
        }
    }

    /// Draws the lines about these services. `stops` tells whether the stack ends with the command.
    pub(super) fn draw(&mut self, stack: &str, services: &[&ServiceSnapshot], stops: bool) {
        let Some(terminal) = &self.terminal else { return };
        self.is_busy = services.iter().any(|service| service.phase.is_on_the_way());
        let time = |name: &Name| self.since.get(name).map_or(Duration::ZERO, |s| s.2.elapsed());
        let has_page = services.iter().any(|service| service.open.is_some());
        let quit = if stops { "q stop" } else { "q leave" };
        let mut keys =
            vec!["? help", quit, "r restart", "w watch", "s status", "l log", "f filter"];
        if has_page {
            keys.push("o open");
        }
        screen::set(lines(&Lines {
            stack,
            services: services.iter().map(|service| (*service, time(&service.name))).collect(),
            states: self.states.clone(),
            keys: terminal.input.as_ref().map(|_| keys),
            prompt: self.prompt.as_ref().map(Prompt::line),
        }));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.terminal.is_some() {
            screen::set(Vec::new());
            screen::set_build(None);
            screen::stop();
            terminal::restore();
            terminal::stop_on_ctrl_z();
        }
    }
}

impl Terminal {
    /// Shows the lines and reads keys, if the command is in the foreground.
    fn enter(&mut self) {
        self.is_in_foreground = match &self.input {
            Some(_) => terminal::read_keys(),
            None => terminal::is_output_in_foreground(),
        };
        if self.is_in_foreground {
            screen::start();
        } else {
            screen::stop();
        }
    }

    async fn next(&mut self, is_busy: bool) -> LiveEvent {
        loop {
            if let Some(key) = self.pressed.pop_front() {
                return LiveEvent::Key(key);
            }
            let ticks = is_busy || !self.is_in_foreground;
            let input = self.input.as_ref().filter(|_| self.is_in_foreground);
            tokio::select! {
                readable = wait_if_some(input.map(AsyncFd::readable)) => {
                    match readable {
                        // Cleared first: a key that arrives during the read wakes the next wait.
                        Ok(mut ready) => ready.clear_ready(),
                        Err(_) => self.input = None,
                    }
                    self.read();
                }
                _ = self.stop.recv() => {
                    screen::stop();
                    terminal::restore();
                    terminal::stop_self();
                    self.enter();
                    self.read();
                    return LiveEvent::Redraw;
                }
                // A signal that a program sent has stopped it.
                _ = self.proceed.recv() => {
                    self.enter();
                    self.read();
                    return LiveEvent::Redraw;
                }
                _ = self.resize.recv() => {
                    screen::redraw();
                    return LiveEvent::Redraw;
                }
                () = sleep_until(self.next_tick), if ticks => {
                    self.next_tick = Instant::now() + TICK;
                    if !self.is_in_foreground {
                        self.enter();
                        self.read();
                    }
                    if is_busy || self.is_in_foreground {
                        return LiveEvent::Tick;
                    }
                }
            }
        }
    }

    /// Reads the keys that were pressed. Without a terminal, no more are read.
    fn read(&mut self) {
        if self.input.is_none() || !self.is_in_foreground {
            return;
        }
        match terminal::pressed() {
            Read::Keys(bytes) => self.pressed.extend(decode(&bytes)),
            Read::Nothing => {}
            Read::End => self.input = None,
        }
    }
}
