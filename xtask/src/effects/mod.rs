//! Everything that touches the world.

pub(crate) mod planning;
mod unreadable;
pub(crate) mod workspace;
