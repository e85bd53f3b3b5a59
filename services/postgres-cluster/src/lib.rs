//! A PostgreSQL cluster in a folder of one's own: made, served, and lent to tests.
//!
//! It speaks no SQL to a running server, and it knows nothing of the tables in the databases:
//! those belong to the services.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod account;
pub mod cluster;
pub mod lend;
pub mod programs;

pub use cluster::Cluster;
pub use programs::Programs;
