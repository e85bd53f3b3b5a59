//! The application in containers, on the engine of this machine, and in what `export` writes.
//!
//! `test-e2e --containers` runs the end-to-end tests on a stack in containers; the tests here are
//! about images, engines and orchestrators. A test without its engine is reported as skipped.

#![allow(clippy::unwrap_used)]

mod images;
mod kubernetes;
mod postgres_image;
mod swarm;
