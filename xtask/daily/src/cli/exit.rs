//! Exit codes. README documents them, and scripts depend on them.

use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// The command succeeded.
    pub const DONE: Self = Self(0);
    /// A test or a service failed, or any other failure.
    pub const FAILED: Self = Self(1);
    /// The command line or the metadata is invalid.
    pub const USAGE: Self = Self(2);
    /// The build failed.
    pub const BUILD: Self = Self(3);
    /// A service did not become ready.
    pub const NOT_READY: Self = Self(4);
    /// Another program holds a port.
    pub const PORT_HELD: Self = Self(5);
    /// No container engine is installed, or its daemon does not answer.
    pub const NO_ENGINE: Self = Self(6);
    /// The command needs a running stack, and nothing is running. `down` succeeds then.
    pub const NOTHING_RUNS: Self = Self(7);
    /// Interrupted by SIGINT.
    pub const INTERRUPTED: Self = Self(130);
    /// Terminated by SIGTERM or SIGHUP.
    pub const TERMINATED: Self = Self(143);

    /// The exit code of another process of this program.
    pub const fn from_code(code: u8) -> Self {
        Self(code)
    }

    pub const fn code(self) -> u8 {
        self.0
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
