//! Edits a workspace for the rare commands.

pub(crate) mod edit;
#[cfg(test)]
pub(crate) mod json;
