//! The settings of this service.
//!
//! Logging has its own variables, read by the kit.

use kit::client::Patience;
use kit::listener::Address;
use kit::settings::SettingError;
use kit::{Client, Settings};

/// The port when `PORT` is not set.
pub const DEFAULT_PORT: u16 = 5000;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `HOST` and `PORT`; not used when a socket is inherited.
    pub address: Address,
    /// `DATABASE_URL`.
    pub database_url: String,
    /// `TODO_URL`, as the client that calls it.
    pub todo: Client,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// For the first value that is missing or wrong, naming it.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let todo = settings.required(
            "TODO_URL",
            "the address of the service `todo`",
            "http://127.0.0.1:5001",
        )?;
        Ok(Self {
            address: Address::from_settings(settings, DEFAULT_PORT)?,
            database_url: settings.required(
                "DATABASE_URL",
                "the address of a database",
                "sqlite:users.db",
            )?,
            todo: Client::new("TODO_URL", &todo, Patience::default())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_errors_that_name_the_variable() {
        for (todo, database, expected) in [
            ("", "sqlite:x", "`TODO_URL` is not set"),
            ("localhost:5001", "sqlite:x", "`TODO_URL` is `localhost:5001`"),
            ("http://h", "", "`DATABASE_URL` is not set"),
        ] {
            let pairs = [("TODO_URL", todo), ("DATABASE_URL", database)];
            let error = Config::from_settings(&Settings::from_pairs(pairs)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
