//! Follows the files of a workspace: which files changed, and what that affects.
//!
//! Cargo knows what a program is made of, so the answer is read from its `.d` files, the manifests
//! and `.gitignore`. This room builds and applies nothing; `cli/watcher` does.

pub(crate) mod contents;
pub(crate) mod events;
mod pattern;
mod polling;
pub(crate) mod sources;
mod tree;
