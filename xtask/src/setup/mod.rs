//! Proposes metadata for a workspace that has none: `init` from its sources, `import` from a file
//! of another tool.
//!
//! Both make the same [`proposal`], which is printed, or written into the manifests. Nothing here
//! builds or starts a program.

pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod new;
pub(crate) mod proposal;
pub(crate) mod workspace;
