//! Runs a program in its own process group, for a command that cleans up after it.
//!
//! The group receives every signal that this process receives. A guard kills the group if this
//! process dies.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep_until};
use xtask_control::connection::Connection;
use xtask_control::protocol::Reply;

use crate::skipped;
use xtask::cli::Exit;
use xtask::cli::interrupt::Interrupts;
use xtask::system::wait_if_some;

/// How long a program may take to exit after a signal, unless it runs
/// [`Foreground::without_grace`].
const GRACE: Duration = Duration::from_secs(5);

/// Terminates the group `$1` when its standard input closes without a line, as it does when this
/// process dies. A shell is small, available, and starts no thread.
const GUARD: &str = r#"read -r word || kill -s TERM -- "-$1""#;

pub(crate) struct Foreground {
    pub(super) child: Child,
    group: Option<Pid>,
    /// How long it may take to exit after a signal; without limit if none.
    grace: Option<Duration>,
    /// Closing the input without a line terminates the group.
    guard: Option<(Child, ChildStdin)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProgramExit {
    /// Its exit code; none if a signal killed it.
    pub(crate) code: Option<i32>,
    /// The exit code of this process, if it received a signal meanwhile.
    pub(crate) interrupted: Option<Exit>,
}

impl ProgramExit {
    /// The exit code of this process if the program was another process of this tool.
    pub(crate) fn of_own_program(self) -> Exit {
        let code = self.code.and_then(|code| u8::try_from(code).ok());
        self.interrupted.unwrap_or(code.map_or(Exit::FAILED, Exit::from_code))
    }
}

/// Starts a program in its own process group. Its standard input is empty, because the terminal
/// stops a background program that reads from it.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Foreground> {
    command.envs(skipped::variable());
    let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let mut program = Foreground { child, group, grace: Some(GRACE), guard: None };
    if let Some(group) = group {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh", &group.as_raw_nonzero().to_string()]);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        match guard.spawn() {
            Ok(mut guard) => program.guard = guard.stdin.take().map(|input| (guard, input)),
            // Without a guard the program could outlive this process.
            Err(error) => {
                program.signal(Signal::KILL);
                return Err(error);
            }
        }
    }
    Ok(program)
}

impl Foreground {
    /// Gives the program unlimited time to stop its services. Only a second signal kills it.
    pub(crate) fn without_grace(self) -> Self {
        Self { grace: None, ..self }
    }

    /// Waits until the program has exited, and passes messages of the supervisor to `on_reply`. It
    /// forwards a first signal to the program; a second one kills the program.
    pub(crate) async fn wait(
        mut self,
        interrupts: &mut Interrupts,
        mut supervisor: Option<&mut Connection>,
        mut on_reply: impl FnMut(Reply),
    ) -> io::Result<ProgramExit> {
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
                () = wait_if_some(deadline.map(sleep_until)) => {
                    self.signal(Signal::KILL);
                    deadline = None;
                }
                answer = wait_if_some(supervisor.as_mut().map(|it| it.next())) => match answer {
                    Ok(Some(answer)) => on_reply(answer.reply),
                    // The supervisor has exited.
                    Ok(None) | Err(_) => supervisor = None,
                },
            }
        };
        // A group leader may exit before the other members.
        if interrupted.is_some() {
            self.signal(Signal::KILL);
        }
        self.dismiss_guard().await;
        Ok(ProgramExit { code: status.code(), interrupted })
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error means that the group has exited already.
            kill_process_group(group, signal).ok();
        }
    }

    /// Ends the guard without a kill: another group may have this number by now.
    async fn dismiss_guard(&mut self) {
        use tokio::io::AsyncWriteExt as _;
        if let Some((mut guard, mut input)) = self.guard.take() {
            input.write_all(b"done\n").await.ok();
            guard.wait().await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    async fn run(script: &str) -> ProgramExit {
        let mut interrupts = Interrupts::new().unwrap();
        let program = spawn(Command::new("sh").args(["-c", script])).unwrap();
        program.wait(&mut interrupts, None, |_| {}).await.unwrap()
    }

    #[tokio::test]
    async fn wait_returns_the_exit_code() {
        assert_eq!(run("exit 7").await, ProgramExit { code: Some(7), interrupted: None });
    }

    #[tokio::test]
    async fn signalled_program_has_no_code() {
        assert_eq!(run("kill -9 $$").await, ProgramExit { code: None, interrupted: None });
    }

    #[tokio::test]
    async fn abandoned_program_is_killed_with_its_children() {
        let script = "sleep 600 & echo $!; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut program = spawn(&mut command).unwrap();
        let mut lines = BufReader::new(program.child.stdout.take().unwrap()).lines();
        let grandchild: i32 = lines.next_line().await.unwrap().unwrap().parse().unwrap();
        // Dropping it is as good as killing this process.
        drop(program);
        // The pipe closes when every process of the group has exited.
        let end = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await;
        assert_eq!(end.unwrap().unwrap(), None, "{grandchild} still runs");
    }
}
