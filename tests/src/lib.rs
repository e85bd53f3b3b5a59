//! What the end-to-end tests share: a caller for each service, and names that no other test
//! uses.
//!
//! It knows the services only by what they answer, and it asserts nothing about any one of
//! them.

mod api;
mod name;

pub use api::{Answer, Api};
pub use name::unique;
pub use xtask_client::harness;
