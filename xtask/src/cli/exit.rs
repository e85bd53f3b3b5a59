//! Exit codes, in one place.
//!
//! The README documents them; scripts depend on them.

use std::process::ExitCode;

/// What the tool's process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// What was asked is done.
    pub(crate) const DONE: Self = Self(0);
    /// Tests or a service failed, or something else went wrong.
    pub(crate) const FAILED: Self = Self(1);
    /// The command line or the metadata makes no sense.
    pub(crate) const USAGE: Self = Self(2);
    /// Something does not compile.
    pub(crate) const BUILD: Self = Self(3);
    /// A service did not get ready.
    pub(crate) const NOT_READY: Self = Self(4);
    /// A port is held by another program.
    pub(crate) const PORT_HELD: Self = Self(5);
    /// No container engine is there, or its daemon does not answer.
    pub(crate) const NO_ENGINE: Self = Self(6);
    /// Nothing is running where a running stack is needed. `down` is content then.
    pub(crate) const NOTHING_RUNS: Self = Self(7);
    /// Ended by Ctrl-C.
    pub(crate) const INTERRUPTED: Self = Self(130);
    /// Ended by SIGTERM or SIGHUP.
    pub(crate) const TERMINATED: Self = Self(143);

    /// What another run of this program ended with.
    pub(crate) const fn from_code(code: u8) -> Self {
        Self(code)
    }

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        self.0
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
