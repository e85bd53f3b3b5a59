//! Processes that are left behind.

use std::env;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::output::say;
use crate::refuse;
use crate::wanted::{FORK_AGAIN, HOLD, Place, Wanted};

pub(crate) fn leave_grandchildren(wanted: &Wanted, listener: Option<&TcpListener>) {
    for place in wanted.grandchildren() {
        let mut command = Command::new(own_program());
        let socket = listener.map(|listener| listener.as_raw_fd());
        // SAFETY: between fork and exec only calls are made that are safe there.
        unsafe {
            command.pre_exec(move || {
                if place != Place::Group {
                    libc::setsid();
                }
                if let Some(socket) = socket {
                    libc::fcntl(socket, libc::F_SETFD, 0);
                }
                Ok(())
            });
        }
        if place == Place::Daemon {
            // The intermediate process prints the pid of the daemon and exits.
            let between = command.arg(FORK_AGAIN).stdin(Stdio::null()).status();
            if !between.is_ok_and(|status| status.success()) {
                refuse("cannot fork twice");
            }
        } else {
            hold(&mut command);
        }
    }
}

/// Starts a process that does nothing but hold what it inherits.
pub(crate) fn hold(command: &mut Command) {
    match command.arg(HOLD).stdin(Stdio::null()).spawn() {
        Ok(child) => say(&format!("grandchild {}", child.id())),
        Err(error) => refuse(&format!("cannot start a grandchild: {error}")),
    }
}

pub(crate) fn own_program() -> std::path::PathBuf {
    env::current_exe().unwrap_or_else(|_| refuse("where am I?"))
}
