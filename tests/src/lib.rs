//! What the end-to-end tests share: a caller for each service, and names that no other test
//! uses.
//!
//! It knows the services only by what they answer, and it asserts nothing about any one of
//! them.

mod api;
mod application;
mod name;
pub mod postgres_image;
mod tool;

pub use api::{Answer, Api, database_server};
pub use application::Application;
pub use name::unique;
pub use tool::Workspace;
pub use xtask_client::{Stack, harness, snapshot};
