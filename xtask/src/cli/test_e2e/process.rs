//! A program run in the foreground for a command that has to clean up behind it: it ends
//! when this process does, and signals end it before they end this process.
//!
//! It does not know what the program does.

use std::io;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};
use xtask_client::connection::Connection;
use xtask_client::protocol::Reply;

use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;

/// How long a program may take to end after a signal before it gets the next, stronger one.
const GRACE: Duration = Duration::from_secs(3);

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// How this process is to end, if it was asked to end meanwhile.
    pub(crate) interrupted: Option<Exit>,
}

/// Starts a program that goes when this process goes, however that ends.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec this makes one system call and touches no memory.
    unsafe {
        command.pre_exec(|| {
            let signal = rustix::process::Signal::TERM;
            Ok(rustix::process::set_parent_process_death_signal(Some(signal))?)
        });
    }
    command.kill_on_drop(true).spawn()
}

/// Waits until the program has ended, and gives what the supervisor says meanwhile to `heard`.
/// The first signal to this process lets the program end by itself, the second kills it.
pub(crate) async fn wait(
    mut child: Child,
    interrupts: &mut Interrupts,
    mut supervisor: Option<&mut Connection>,
    mut heard: impl FnMut(Reply),
) -> io::Result<Ended> {
    let mut interrupted = None;
    let mut told = false;
    let mut deadline: Option<Instant> = None;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(Ended { code: status?.code(), interrupted }),
            exit = interrupts.next() => {
                if interrupted.is_some() {
                    child.start_kill()?;
                }
                // A Ctrl-C reaches every program in the foreground; the others only this one.
                if exit == Exit::TERMINATED {
                    terminate(&child);
                    told = true;
                }
                interrupted.get_or_insert(exit);
                deadline.get_or_insert_with(|| Instant::now() + GRACE);
            }
            () = until(deadline) => {
                if told {
                    child.start_kill()?;
                } else {
                    terminate(&child);
                }
                deadline = (!told).then(|| Instant::now() + GRACE);
                told = true;
            }
            reply = next(&mut supervisor) => match reply {
                Some(reply) => heard(reply),
                None => supervisor = None,
            },
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

fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // It may have ended by itself, which is what is wanted.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_exit_code_of_a_program_is_told() {
        let mut interrupts = Interrupts::new().unwrap();
        let child = spawn(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        let ended = wait(child, &mut interrupts, None, |_| {}).await.unwrap();
        assert_eq!(ended, Ended { code: Some(7), interrupted: None });
    }

    #[tokio::test]
    async fn a_program_that_a_signal_ended_has_no_code() {
        let mut interrupts = Interrupts::new().unwrap();
        let child = spawn(Command::new("sh").args(["-c", "kill -9 $$"])).unwrap();
        let ended = wait(child, &mut interrupts, None, |_| {}).await.unwrap();
        assert_eq!(ended, Ended { code: None, interrupted: None });
    }
}
