//! `todo`: the service that owns the lists of each username and their items.
//!
//! A username is only a key here: the service `users` owns the people.

use std::process::ExitCode;

use kit::auth::Tokens;
use kit::service::{self, Service};
use kit::{Database, Shell};
use todo::http;
use todo::store::MIGRATIONS;

const TODO: Service = Service { name: "todo", version: env!("CARGO_PKG_VERSION"), port: 5001 };

fn main() -> ExitCode {
    service::run_with_database(&TODO, &MIGRATIONS, |settings| {
        let shell = Shell::from_settings(TODO.name, settings)?;
        let shell = shell.with_tokens(Tokens::from_settings(settings)?);
        Ok(|database: Database| http::app(database, shell))
    })
}
