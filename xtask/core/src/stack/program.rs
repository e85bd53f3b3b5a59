//! The program of a service, as far as it is built.
//!
//! What a build does to a service is decided in `build`.

use alloc::string::String;

/// The state of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// Nothing is built for it.
    Unneeded,
    /// Cargo has not linked it yet. While `serving`, the accepted program goes on and
    /// may be started again.
    Pending {
        /// Whether the service ran when the build began.
        serving: bool,
    },
    /// Linked, and on its way into the stack's state.
    Linked {
        /// As in `Pending`.
        serving: bool,
    },
    /// It is there.
    Accepted,
    /// It could not be had.
    Failed {
        /// As in `Pending`.
        serving: bool,
        /// Why.
        message: String,
    },
}

/// Whether a run could be started with the program as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramState<'a> {
    /// Yes.
    Here,
    /// Not yet.
    Pending,
    /// Never.
    Failed(&'a str),
}

impl Build {
    /// Whether it may bring another program.
    pub(super) fn is_under_way(&self) -> bool {
        match self {
            Self::Pending { .. } | Self::Linked { .. } => true,
            Self::Unneeded | Self::Accepted | Self::Failed { .. } => false,
        }
    }

    /// Whether a run could be started.
    pub(super) fn state(&self) -> ProgramState<'_> {
        match self {
            Self::Unneeded
            | Self::Accepted
            | Self::Pending { serving: true }
            | Self::Linked { serving: true }
            | Self::Failed { serving: true, .. } => ProgramState::Here,
            Self::Pending { serving: false } | Self::Linked { serving: false } => {
                ProgramState::Pending
            }
            Self::Failed { serving: false, message } => ProgramState::Failed(message),
        }
    }

    /// Says whether the accepted program may be started while its successor is missing.
    pub(super) fn set_serving(&mut self, value: bool) {
        match self {
            Self::Pending { serving } | Self::Linked { serving } | Self::Failed { serving, .. } => {
                *serving = value
            }
            Self::Unneeded | Self::Accepted => {}
        }
    }
}
