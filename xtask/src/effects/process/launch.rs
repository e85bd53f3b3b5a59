//! Starting a run: everything that a process and its probes need, put together.
//!
//! The parts are elsewhere; here is their order. A queued request is sent before the
//! fork, so that the first accept answers it, and the other probes start once the
//! process has become its program.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, PoisonError};

use xtask_client::logs::Stream;
use xtask_core::plan::Probe as Kind;
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::{Command, Run};
use xtask_core::terms::Name;

use crate::effects::logs::Pipe;
use crate::effects::logs::lines::{Awaited, AwaitedLines, Lines};
use crate::effects::perform::socket_path;
use crate::effects::probe::http::Request;
use crate::effects::probe::{Asking, ListenerOf, Probe, Question, find_program, http};
use crate::effects::process::environment::Additions;
use crate::effects::process::life::Life;
use crate::effects::process::notify::NotifySocket;
use crate::effects::process::spawn;
use crate::effects::process::spawn::Launch;
use crate::effects::runs::{Live, Process};
use crate::effects::{Outlet, World};
use crate::system::socket;

impl World {
    pub(crate) fn try_spawn(
        &mut self,
        service: &Name,
        run: Run,
        command: &Command,
        probes: Vec<PreparedProbe>,
    ) -> Result<(), String> {
        let outlet = self.outlet(service, run);
        let system = |error: io::Error| format!("cannot start `{}`: {error}", command.program);
        let program =
            find_program(&command.program, self.environment.get(command, "PATH"), &command.cwd)?;

        let notify = self.notify_socket(&outlet, command, &probes).map_err(system)?;
        let awaited = AwaitedLines::default();
        let (pipes, ends) = self.pipes(&outlet, &awaited).map_err(system)?;

        let additions = Additions { notify: notify.as_deref().map(NotifySocket::path) };
        let env = self.environment.of(command, &additions);
        // Before the process is there, so that the first accept answers.
        let questions = self.questions(&outlet, probes, command, &awaited);

        if command.sockets.is_empty() {
            self.sockets.release(service);
        }
        let sockets = self
            .sockets
            .inherited(service, &command.sockets)
            .ok_or_else(|| format!("`{service}` inherits sockets that are not bound"))?;
        let forked = spawn::start(&Launch {
            program: text(program.as_os_str())?,
            args: arguments(&command.program, &command.args)?,
            env,
            pid_variables: pid_variables(command),
            cwd: text(OsStr::new(&command.cwd))?,
            output: [ends[0].as_fd(), ends[1].as_fd()],
            sockets,
            open_files: self.open_files,
        })
        .map_err(system)?;

        let leader = Arc::new(forked.leader);
        let live = Live {
            awaited: Arc::clone(&awaited),
            notify: notify.as_ref().map(Arc::downgrade).unwrap_or_default(),
            ..Live::new(Process::Child(Arc::clone(&leader)), program.clone())
        };
        let probes = questions
            .into_iter()
            .map(|(index, own, question)| {
                let listener = if own && cfg!(target_os = "linux") {
                    ListenerOf::Group(Arc::clone(&leader))
                } else {
                    ListenerOf::Anyone
                };
                Probe { outlet: outlet.clone(), index, question, listener }
            })
            .collect();
        let life = Life {
            outlet,
            leader,
            outcome: forked.outcome,
            program: program.to_string_lossy().into_owned(),
            cwd: command.cwd.clone(),
            pipes,
            notify,
            awaited,
            probes,
            tasks: live.tasks.clone(),
        };
        tokio::spawn(life.run());
        self.runs.insert((service.clone(), run), live);
        Ok(())
    }

    /// Pipes for the output of a run, and the ends that it writes to.
    pub(crate) fn pipes(
        &mut self,
        outlet: &Outlet,
        awaited: &AwaitedLines,
    ) -> io::Result<([Pipe; 2], [OwnedFd; 2])> {
        let log = self.log(&outlet.service);
        let (out, out_end) = spawn::close_on_exec_pipe()?;
        let (err, err_end) = spawn::close_on_exec_pipe()?;
        let pipe = |fd, stream| {
            let log = Arc::clone(&log);
            Pipe::new(fd, Lines::new(stream, outlet.clone(), log, Arc::clone(awaited)))
        };
        Ok(([pipe(out, Stream::Out)?, pipe(err, Stream::Err)?], [out_end, err_end]))
    }

    /// The probes of a run that ask: index, whether the run must listen itself, and
    /// the question. Log probes are entered into `awaited` instead.
    pub(crate) fn questions(
        &mut self,
        outlet: &Outlet,
        probes: Vec<PreparedProbe>,
        command: &Command,
        awaited: &AwaitedLines,
    ) -> Vec<(usize, bool, Question)> {
        let mut questions = Vec::new();
        for prepared in probes {
            if let Kind::Log { pattern } = &prepared.probe {
                match regex::bytes::Regex::new(pattern) {
                    Ok(pattern) => awaited
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(Awaited { probe: prepared.index, pattern }),
                    Err(error) => {
                        let why = format!("`{pattern}` is no regular expression: {error}");
                        questions.push((prepared.index, false, Question::Impossible(why)));
                    }
                }
            } else if let Some(question) = self.question(&prepared, command) {
                let own = prepared.address.as_ref().is_some_and(|(_, port)| {
                    !prepared.queued && !self.sockets.listens(&outlet.service, *port)
                });
                questions.push((prepared.index, own, question));
            }
        }
        questions
    }

    /// What a prepared probe asks; none for those that only wait.
    pub(crate) fn question(
        &mut self,
        prepared: &PreparedProbe,
        command: &Command,
    ) -> Option<Question> {
        let address = || prepared.address.clone().ok_or_else(|| "no address to probe".to_owned());
        let question = match &prepared.probe {
            Kind::Notify | Kind::Log { .. } => return None,
            Kind::Http { path, status, .. } => address().map(|(host, port)| {
                let request = Request::new(&host, port, path);
                // What we listen at ourselves was looked up when it was bound.
                let bound = prepared.queued.then(|| socket::resolve(&host, port).ok()).flatten();
                let queued = bound.and_then(|address| {
                    request.queue(http::callable(address), self.counted(port)).ok()
                });
                Question::Http { host, port, request, status: status.clone(), queued }
            }),
            Kind::Tcp { .. } => address().map(|(host, port)| Question::Tcp { host, port }),
            Kind::Command { .. } => self.asking(prepared, command),
        };
        Some(question.unwrap_or_else(Question::Impossible))
    }

    /// A handle that counts as a request of ours on that port.
    fn counted(&mut self, port: u16) -> Arc<()> {
        Arc::clone(self.queued.entry(port).or_default())
    }

    fn asking(&self, prepared: &PreparedProbe, command: &Command) -> Result<Question, String> {
        // It sees what the run sees, but does not speak or listen for it.
        let bare = Command { sockets: Vec::new(), watchdog_us: None, ..command.clone() };
        let (name, args) = prepared.command.split_first().ok_or("an empty command")?;
        let program = find_program(name, self.environment.get(command, "PATH"), &command.cwd)?;
        Ok(Question::Command(Asking {
            program: text(program.as_os_str())?,
            args: arguments(name, args)?,
            env: self.environment.of(&bare, &Additions::default()),
            cwd: text(OsStr::new(&command.cwd))?,
            open_files: self.open_files,
        }))
    }

    pub(crate) fn notify_socket(
        &mut self,
        outlet: &Outlet,
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
        NotifySocket::bind(path, outlet.clone(), ready).map(|socket| Some(Arc::new(socket)))
    }
}

fn pid_variables(command: &Command) -> &'static [&'static str] {
    match (command.sockets.is_empty(), command.watchdog_us) {
        (true, None) => &[],
        (false, None) => &["LISTEN_PID"],
        (true, Some(_)) => &["WATCHDOG_PID"],
        (false, Some(_)) => &["LISTEN_PID", "WATCHDOG_PID"],
    }
}

fn arguments(program: &str, args: &[String]) -> Result<Vec<CString>, String> {
    std::iter::once(program)
        .chain(args.iter().map(String::as_str))
        .map(|argument| text(OsStr::new(argument)))
        .collect()
}

fn text(text: &OsStr) -> Result<CString, String> {
    CString::new(text.as_bytes())
        .map_err(|_| format!("`{}` holds a NUL byte", text.to_string_lossy()))
}
