//! Manifests as values with places, and what they declare.
//!
//! Reading the files and asking Cargo is the tool's work; it hands over a
//! [`Workspace`]. Nothing here opens a file.

pub mod at;
mod declarations;
pub mod declare;
pub mod keys;
mod reader;
pub(crate) mod section;
pub(crate) mod shape;
pub(crate) mod spelling;
mod value;
mod workspace;

pub use at::{At, TextAt};
pub use declarations::{Declarations, read};
pub use reader::is_name;
pub use value::{Key, Table, Value, ValueKind};
pub use workspace::{Binary, Manifest, Package, Workspace};
