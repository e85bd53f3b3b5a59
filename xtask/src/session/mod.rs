//! The client side of a stack: finds its supervisor, or starts one.

pub(crate) mod launch;
