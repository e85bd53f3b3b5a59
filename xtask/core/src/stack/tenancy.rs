//! The ports of a service, and who has them: the service itself, nobody yet, or somebody
//! else whose fate is to be decided.
//!
//! Ports are asked for in `address`, and decided about in `adopt`.

use alloc::string::String;
use alloc::vec::Vec;

use super::event::{BindFailure, Holder};
use super::likeness::Likeness;
use crate::plan::Port;
use crate::snapshot::Failure;

/// The ports of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Address {
    /// Whether they are its own.
    pub(crate) bound: Bound,
    /// What was last asked for: ports, and whether the service inherits them.
    pub(crate) asked: Option<(Vec<Port>, bool)>,
    /// The numbers last had for that. They are asked for again after the sockets were
    /// closed, because others were started with them.
    pub(crate) numbers: Vec<u16>,
    /// The numbers last had for anything: others may run with them.
    pub(crate) given: Vec<u16>,
    /// Whether remembered numbers were asked for.
    pub(crate) remembered: bool,
}

/// Whether ports are had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bound {
    /// No.
    #[default]
    No,
    /// Asked for.
    Asked,
    /// Yes.
    Yes,
    /// Somebody holds them who may be worth a closer look.
    Held(Held),
    /// That look is under way.
    Looking {
        /// Who held them before.
        held: Held,
        /// What the holder is compared with; none where anybody will do.
        like: Option<Likeness>,
    },
    /// Somebody holds them whose fate is decided.
    Taken(Tenant),
    /// They could not be had.
    Failed {
        /// Which kind of failure.
        failure: Failure,
        /// Why.
        reason: String,
    },
}

impl Bound {
    pub(crate) fn failed(failure: Failure, reason: String) -> Self {
        Self::Failed { failure, reason }
    }
}

/// Somebody who holds ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The port.
    pub(crate) port: u16,
    /// Its process, if the system shows it.
    pub(crate) holder: Option<Holder>,
    /// The user it runs as, where only that is shown.
    pub(crate) user: Option<String>,
    /// Why other ports of the service cannot be had either.
    pub(crate) others: Vec<BindFailure>,
}

/// Somebody whose fate is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant {
    /// Its process, if the system shows it.
    pub(crate) holder: Option<Holder>,
    /// What it was compared with; none where anybody will do.
    pub(super) likeness: Option<Likeness>,
    /// What becomes of it.
    pub(super) fate: Fate,
}

/// What becomes of who holds the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stands in the service's place.
    Adopted,
    /// It is stopped.
    Evicted,
}
