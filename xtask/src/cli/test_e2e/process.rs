//! A program run in the foreground for a command that has to clean up behind it. It runs in
//! a process group of its own, which gets every signal that this process gets, and which is
//! ended when this process ends, however that happens.
//!
//! It does not know what the program does.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep_until};
use xtask_client::connection::Connection;
use xtask_client::protocol::Reply;

use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;

/// How long a program may take to end after a signal before it is killed, unless it is
/// [patient](Foreground::patient).
const GRACE: Duration = Duration::from_secs(5);

/// Ends the group `$1` when its standard input ends without a word, as it does when the
/// process that holds the other end is gone. A shell is small, is everywhere, and starts
/// no thread that a fork could lose.
const GUARD: &str = r#"read -r word || kill -s TERM -- "-$1""#;

/// A program with its group.
pub(crate) struct Foreground {
    child: Child,
    group: Option<Pid>,
    /// How long it may take to end after a signal; for ever if none.
    grace: Option<Duration>,
    /// Closed unread, it ends the group.
    guard: Option<(Child, ChildStdin)>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// How this process is to end, if it was asked to end meanwhile.
    pub(crate) interrupted: Option<Exit>,
}

/// Starts a program in a group of its own. Its standard input is empty: a program that reads
/// the terminal from the background would be stopped.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Foreground> {
    let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let mut program = Foreground { child, group, grace: Some(GRACE), guard: None };
    if let Some(group) = group {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh", &group.as_raw_nonzero().to_string()]);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        match guard.spawn() {
            Ok(mut guard) => program.guard = guard.stdin.take().map(|input| (guard, input)),
            // The program must not run where nothing would end it.
            Err(error) => {
                program.signal(Signal::KILL);
                return Err(error);
            }
        }
    }
    Ok(program)
}

impl Foreground {
    /// The program stops services of its own when it is told to end: their time for that is
    /// theirs, and only a second signal kills it.
    pub(crate) fn patient(self) -> Self {
        Self { grace: None, ..self }
    }

    /// What the program prints, if it was started with a pipe for it.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// What the program complains of, likewise.
    pub(crate) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits until the program has ended, and gives what the supervisor says meanwhile to
    /// `heard`. A signal to this process is passed on; the second one kills.
    pub(crate) async fn wait(
        mut self,
        interrupts: &mut Interrupts,
        mut supervisor: Option<&mut Connection>,
        mut heard: impl FnMut(Reply),
    ) -> io::Result<Ended> {
        let mut interrupted = None;
        let mut deadline = None;
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status?,
                exit = interrupts.next() => {
                    self.signal(match (interrupted, exit) {
                        (Some(_), _) => Signal::KILL,
                        (None, Exit::INTERRUPTED) => Signal::INT,
                        (None, _) => Signal::TERM,
                    });
                    interrupted.get_or_insert(exit);
                    deadline = deadline.or(self.grace.map(|grace| Instant::now() + grace));
                }
                () = until(deadline) => {
                    self.signal(Signal::KILL);
                    deadline = None;
                }
                reply = next(&mut supervisor) => match reply {
                    Some(reply) => heard(reply),
                    None => supervisor = None,
                },
            }
        };
        // A leader that was told to end may leave members that were not asked.
        if interrupted.is_some() {
            self.signal(Signal::KILL);
        }
        self.dismiss_guard().await;
        Ok(Ended { code: status.code(), interrupted })
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may have ended by itself, which is what is wanted.
            kill_process_group(group, signal).ok();
        }
    }

    /// Lets the guard go without ending a group whose number may by now be another's.
    async fn dismiss_guard(&mut self) {
        use tokio::io::AsyncWriteExt as _;
        if let Some((mut guard, mut input)) = self.guard.take() {
            input.write_all(b"done\n").await.ok();
            guard.wait().await.ok();
        }
    }
}

/// The supervisor's next message; none once it is gone, never without one.
async fn next(supervisor: &mut Option<&mut Connection>) -> Option<Reply> {
    match supervisor {
        Some(connection) => connection.next().await.ok().flatten().map(|answer| answer.reply),
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    async fn run(script: &str) -> Ended {
        let mut interrupts = Interrupts::new().unwrap();
        let program = spawn(Command::new("sh").args(["-c", script])).unwrap();
        program.wait(&mut interrupts, None, |_| {}).await.unwrap()
    }

    #[tokio::test]
    async fn the_exit_code_of_a_program_is_told() {
        assert_eq!(run("exit 7").await, Ended { code: Some(7), interrupted: None });
    }

    #[tokio::test]
    async fn a_program_that_a_signal_ended_has_no_code() {
        assert_eq!(run("kill -9 $$").await, Ended { code: None, interrupted: None });
    }

    #[tokio::test]
    async fn a_program_that_is_abandoned_ends_with_its_children() {
        let script = "sleep 600 & echo $!; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut program = spawn(&mut command).unwrap();
        let mut lines = BufReader::new(program.stdout().unwrap()).lines();
        let grandchild: i32 = lines.next_line().await.unwrap().unwrap().parse().unwrap();
        // As when this process is killed: nothing of ours runs any more.
        drop(program);
        // Whoever inherited the pipe has ended when it does.
        let end = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await;
        assert_eq!(end.unwrap().unwrap(), None, "{grandchild} is still there");
    }
}
