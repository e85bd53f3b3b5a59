//! Starts a run as a process: prepares its sockets, pipes, environment and probes, and spawns it.
//!
//! A queued request is sent before the fork, so that the first accept answers it. The other probes
//! start once the program is executed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use xtask_core::plan::Probe as Kind;
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::{Command, Run};
use xtask_core::terms::Name;
use xtask_core::terms::host::callable_address;
use xtask_logs::Stream;

use crate::effects::active_run::{ActiveRun, Process};
use crate::effects::error::Error;
use crate::effects::logs::Pipe;
use crate::effects::logs::lines::{Lines, LogPattern, LogPatterns};
use crate::effects::perform::socket_path;
use crate::effects::probe::http::Request;
use crate::effects::probe::{self, ExpectedListener, PollingProbe, Target};
use crate::effects::process::input::EmptyInput;
use crate::effects::process::notify::NotifySocket;
use crate::effects::process::run::{ProcessRun, RunProbes};
use crate::effects::process::user;
use crate::effects::programs::start_of;
use crate::effects::spawn::{self, Exec, SpawnRequest};
use crate::effects::{RunEvents, World};
use crate::system::account::{Account, to_become};
use crate::system::argument_size::size_fault;
use crate::system::task;
use crate::system::{executable, socket};

impl World {
    pub(crate) fn try_spawn(
        &mut self,
        service: &Name,
        run: Run,
        command: &Command,
        probes: Vec<PreparedProbe>,
    ) -> Result<(), Error> {
        let events = self.events(service, run);
        let failed = |error: io::Error| Error::Start { subject: command.program.clone(), error };
        let linked = command.linked.as_ref().map(|linked| start_of(&command.program, linked));
        let program = linked.as_ref().map_or(&command.program, |linked| &linked.path).clone();
        let with_link = linked.map(|linked| Command { linked: Some(linked), ..command.clone() });
        let command = with_link.as_ref().unwrap_or(command);
        let path = find_program(&program, self.contexts.get(command, "PATH"), &command.cwd)?;

        let notify = self.notify_socket(&events, command, &probes).map_err(failed)?;
        let mark = self.mark_of(&events);
        let notify_path = notify.as_deref().map(NotifySocket::path);
        let account = run_as(command)?;
        if let (Some(account), Some(user)) = (&account, &command.user) {
            user::prepare(
                account,
                user,
                &self.settings.state,
                &Path::new(&command.cwd).join(&path),
            )?;
        }
        let env = self.contexts.environment(command, account.as_ref(), notify_path, &mark);
        let args = [&program].into_iter().chain(&command.args);
        let inherited = self.contexts.inherited(command).run_by(account);
        let exec = Exec::new(&path, args, env, &command.cwd, inherited)?;
        if let Some(size) = size_fault(&exec.args, &exec.env, exec.inherited.stack()) {
            return Err(Error::TooLong { program: program.to_owned(), size });
        }
        let run_probes = RunProbes::new(notify.as_ref());
        let (pipes, ends) = self.pipes(&events, &run_probes.patterns).map_err(failed)?;
        // Before the fork, so that the first accept answers.
        let targets = self.targets(&events, probes, command, &run_probes.patterns);

        if command.sockets.is_empty() {
            self.sockets.release(service);
        }
        let sockets = self.sockets.inherited(service, &command.sockets);
        let sockets = sockets.ok_or_else(|| Error::Unbound(service.clone()))?;
        let input = EmptyInput::new().map_err(failed)?;
        let leader = spawn::start(&SpawnRequest {
            exec: &exec,
            mark,
            pid_variables: pid_variables(command),
            input: Some(input.fd()),
            output: [ends[0].as_fd(), ends[1].as_fd()],
            sockets,
        });
        let leader = leader
            .map_err(|failure| Error::of_spawn(failure, &path.to_string_lossy(), &command.cwd))?;
        events.started(leader.id().unsigned_abs());

        let leader = Arc::new(leader);
        let polling = targets.into_iter().map(|(index, own, target)| {
            let listener = if own && cfg!(target_os = "linux") {
                ExpectedListener::Run(Arc::clone(&leader))
            } else {
                ExpectedListener::Any
            };
            PollingProbe { events: events.clone(), index, target, listener }
        });
        let polling = polling.collect();
        let process = Process::Child(Arc::clone(&leader));
        let process_run = ProcessRun {
            events,
            leader,
            reaper: self.reaper.clone(),
            input,
            pipes,
            notify,
            probes: run_probes.clone(),
            polling,
        };
        task::spawn(process_run.follow());
        let active = ActiveRun { process, program: (&command.program).into(), probes: run_probes };
        self.runs.insert((service.clone(), run), active);
        Ok(())
    }

    /// Pipes for standard output and standard error of a run, and their writing ends.
    pub(crate) fn pipes(
        &mut self,
        events: &RunEvents,
        patterns: &LogPatterns,
    ) -> io::Result<([Pipe; 2], [OwnedFd; 2])> {
        let log = self.log(&events.service);
        let (out, out_end) = spawn::close_on_exec_pipe()?;
        let (err, err_end) = spawn::close_on_exec_pipe()?;
        let pipe = |fd, stream| {
            let log = Arc::clone(&log);
            Pipe::new(fd, Lines::new(stream, events.clone(), log, Arc::clone(patterns)))
        };
        Ok(([pipe(out, Stream::Out)?, pipe(err, Stream::Err)?], [out_end, err_end]))
    }

    /// The polling probes of a run: index, whether the run must listen itself, and the target. Log
    /// probes are added to `patterns` instead.
    pub(crate) fn targets(
        &mut self,
        events: &RunEvents,
        probes: Vec<PreparedProbe>,
        command: &Command,
        patterns: &LogPatterns,
    ) -> Vec<(usize, bool, Target)> {
        let mut targets = Vec::new();
        for prepared in probes {
            if let Kind::Log { pattern } = &prepared.probe {
                match regex_lite::Regex::new(pattern) {
                    Ok(pattern) => patterns
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(LogPattern { probe: prepared.index, pattern }),
                    Err(error) => {
                        let (pattern, error) = (pattern.clone(), Box::new(error));
                        let error = probe::Error::Pattern { pattern, error };
                        targets.push((prepared.index, false, Target::Invalid(error)));
                    }
                }
            } else if let Some(target) = self.target(events, &prepared, command) {
                let own = prepared.address.as_ref().is_some_and(|(_, port)| {
                    !prepared.queued && !self.sockets.listens(&events.service, *port)
                });
                targets.push((prepared.index, own, target));
            }
        }
        targets
    }

    /// The target of a prepared probe; none for passive probes.
    pub(crate) fn target(
        &mut self,
        events: &RunEvents,
        prepared: &PreparedProbe,
        command: &Command,
    ) -> Option<Target> {
        let address = || prepared.address.clone().ok_or(probe::Error::NoAddress);
        let target = match &prepared.probe {
            Kind::Notify | Kind::Log { .. } => return None,
            Kind::Http { path, status, .. } => address().map(|(host, port)| {
                let request = Request::new(&host, port, path);
                // A queued request goes to a socket of the supervisor, which was resolved before.
                let bound = prepared.queued.then(|| socket::resolve(&host, port).ok()).flatten();
                let queued = bound.and_then(|address| {
                    request.queue(callable_address(address), self.counted(port)).ok()
                });
                Target::Http { host, port, request, status: status.clone(), queued }
            }),
            Kind::Tcp { .. } => address().map(|(host, port)| Target::Tcp { host, port }),
            Kind::Command { .. } => self.command_target(events, prepared, command),
        };
        Some(target.unwrap_or_else(Target::Invalid))
    }

    /// A handle that counts as a request of this process on a port.
    fn counted(&mut self, port: u16) -> Arc<()> {
        Arc::clone(self.queued.entry(port).or_default())
    }

    fn command_target(
        &self,
        events: &RunEvents,
        prepared: &PreparedProbe,
        command: &Command,
    ) -> Result<Target, probe::Error> {
        // It gets the environment of the run without sockets and watchdog.
        let bare = Command { sockets: Vec::new(), watchdog_us: None, ..command.clone() };
        let name = prepared.command.first().ok_or(probe::Error::EmptyCommand)?;
        let program = find_program(name, self.contexts.get(command, "PATH"), &command.cwd)?;
        let account = run_as(command)?;
        let env = self.contexts.environment(&bare, account.as_ref(), None, &self.mark_of(events));
        let inherited = self.contexts.inherited(command).run_by(account);
        let (args, cwd) = (&prepared.command, &command.cwd);
        Ok(Target::Command(Exec::new(&program, args, env, cwd, inherited)?))
    }

    pub(crate) fn notify_socket(
        &mut self,
        events: &RunEvents,
        command: &Command,
        probes: &[PreparedProbe],
    ) -> io::Result<Option<Arc<NotifySocket>>> {
        if !command.notify {
            return Ok(None);
        }
        let waits = |prepared: &&PreparedProbe| matches!(prepared.probe, Kind::Notify);
        let ready = probes.iter().filter(waits).map(|prepared| prepared.index).collect();
        self.notify_sockets += 1;
        let path = socket_path(&self.settings.runtime, self.notify_sockets);
        NotifySocket::bind(path, events.clone(), ready).map(|socket| Some(Arc::new(socket)))
    }
}

/// The account that the process becomes, if it is not the supervisor's own.
fn run_as(command: &Command) -> Result<Option<Account>, Error> {
    let Some(user) = &command.user else { return Ok(None) };
    let program = || command.program.clone();
    to_become(&user.account).map_err(|error| Error::Account { program: program(), error })
}

fn pid_variables(command: &Command) -> &'static [&'static str] {
    match (command.sockets.is_empty(), command.watchdog_us) {
        (true, None) => &[],
        (false, None) => &["LISTEN_PID"],
        (true, Some(_)) => &["WATCHDOG_PID"],
        (false, Some(_)) => &["LISTEN_PID", "WATCHDOG_PID"],
    }
}

/// The path of a program, looked up in this `PATH` if the name has no slash.
pub(crate) fn find_program(name: &str, path: Option<&OsStr>, cwd: &str) -> Result<PathBuf, Error> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    which::which_in(name, path, cwd).map_err(|_| {
        let fault = executable::fault_of(name, path, Path::new(cwd));
        let fault = fault.unwrap_or_else(|| executable::Fault::absent(name));
        Error::FindProgram { name: name.to_owned(), fault }
    })
}
