//! A PostgreSQL cluster in a folder: create it, serve it, and start a server for tests.
//!
//! It connects to no running server. The tables in the databases belong to the services.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod account;
pub mod cluster;
mod error;
mod programs;
pub mod test_server;

pub use cluster::Cluster;
pub use programs::Programs;
