//! `users`: the service that owns the people and gets their lists from `todo`.
//!
//! It neither stores lists nor caches answers of `todo`.

use std::process::ExitCode;

use kit::service::{self, Service};
use kit::{Callers, Database, Limits};
use users::http;
use users::store::MIGRATIONS;
use users::todo::Todo;

const USERS: Service = Service {
    name: "users",
    version: env!("CARGO_PKG_VERSION"),
    port: 5000,
    migrations: &MIGRATIONS,
};

fn main() -> ExitCode {
    service::run(&USERS, |settings| {
        let todo = Todo::from_settings(settings)?;
        let callers = Callers::from_settings(USERS.name, settings)?;
        Ok(|database: Database| http::app(database, todo, callers, Limits::default()))
    })
}
