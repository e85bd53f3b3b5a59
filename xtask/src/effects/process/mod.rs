//! A run as a process: its environment, its start, its end, and processes that others started.

pub(crate) mod adopt;
pub(crate) mod environment;
pub(crate) mod inspect;
pub(crate) mod launch;
pub(crate) mod notify;
pub(crate) mod orphans;
pub(crate) mod run;
