//! Processes that the tool did not start. No tests, only what several files of tests need.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use xtask_test_support::{eventually, get, misbehave};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(30);

/// A process that was started by hand, and that ends with the test.
pub(crate) struct ByHand {
    pub(crate) child: Child,
}

impl ByHand {
    /// Starts it, if the system lets it start.
    pub(crate) fn started(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self { child: command.spawn()? })
    }

    /// Starts it and waits until it accepts on the port.
    pub(crate) fn listening(command: Command, number: u16) -> Self {
        let this = Self::started(command).unwrap();
        eventually(SOON, "a process that listens", || get(number, "/"));
        this
    }

    pub(crate) fn misbehaving(flags: &str, number: u16) -> Self {
        let mut command = Command::new(misbehave());
        command.args(flags.split_whitespace()).env_clear().env("PORT", number.to_string());
        Self::listening(command, number)
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How it ended, which must be soon.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually(SOON, "the end of a process started by hand", || self.child.try_wait().unwrap())
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
