//! `todo`: the service that owns the lists of each username and their items.
//!
//! A username is only a key here: the service `users` owns the people.

use std::process::ExitCode;

use kit::service::{self, Service};
use kit::{Callers, Database, Limits};
use todo::http;
use todo::store::MIGRATIONS;

const TODO: Service = Service {
    name: "todo",
    version: env!("CARGO_PKG_VERSION"),
    port: 5001,
    migrations: &MIGRATIONS,
};

fn main() -> ExitCode {
    service::run(&TODO, |settings| {
        let callers = Callers::from_settings(TODO.name, settings)?;
        Ok(|database: Database| http::app(database, callers, Limits::default()))
    })
}
