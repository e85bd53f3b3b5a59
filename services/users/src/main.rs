//! `users`: the service that owns the people and gets their lists from `todo`.
//!
//! It neither stores lists nor caches answers of `todo`.

use std::process::ExitCode;

use kit::auth::Tokens;
use kit::service::{self, Service};
use kit::{Database, Shell};
use users::http;
use users::store::MIGRATIONS;
use users::todo::Todo;

const USERS: Service = Service { name: "users", version: env!("CARGO_PKG_VERSION"), port: 5000 };

fn main() -> ExitCode {
    service::run_with_database(&USERS, &MIGRATIONS, |settings| {
        let todo = Todo::from_settings(settings)?;
        let tokens = Tokens::from_settings(settings)?;
        let shell = Shell::from_settings(USERS.name, settings)?;
        Ok(|database: Database| http::app(database, todo, tokens, shell))
    })
}
