//! Pure functions from plans, snapshots and problems to text, JSON and SVG.
//!
//! Views do not ask a supervisor, read files or make decisions.

pub(crate) mod buffering;
pub mod calls;
pub(crate) mod cause;
pub mod environment;
pub(crate) mod event;
pub(crate) mod explain;
pub mod failure;
pub(crate) mod fit;
pub(crate) mod live;
pub mod log;
pub(crate) mod plan;
pub mod problem;
pub mod progress;
pub(crate) mod service_json;
pub mod setting;
pub(crate) mod stacks;
pub mod status;
pub mod style;
pub mod table;
pub(crate) mod timings;
pub(crate) mod visible;
pub(crate) mod watch;
pub mod words;
