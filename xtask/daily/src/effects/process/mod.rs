//! Runs a service as a process, and adopts processes that other programs started.

pub(crate) mod adopt;
pub(crate) mod environment;
pub(crate) mod input;
pub(crate) mod launch;
pub(crate) mod notify;
pub(crate) mod orphans;
pub(crate) mod reaper;
pub(crate) mod run;
mod user;
