//! Manifests as values with places, and what they declare.
//!
//! Reading the files and asking Cargo is the tool's work; it hands over a
//! [`Workspace`]. Nothing here opens a file.

pub mod value;
pub mod workspace;

pub use value::{Key, Table, Value, ValueKind};
pub use workspace::{Binary, Manifest, Package, Workspace};
