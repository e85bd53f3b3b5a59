//! The settings of this service.
//!
//! `kit::telemetry` reads those of logging.

use kit::client::Timeouts;
use kit::listener::BindAddress;
use kit::settings::SettingError;
use kit::{Client, Settings};

/// The default of `PORT`.
pub const DEFAULT_PORT: u16 = 5000;

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `HOST` and `PORT`; ignored when a socket is inherited.
    pub address: BindAddress,
    /// `DATABASE_URL`.
    pub database_url: String,
    /// The client for `TODO_URL`.
    pub todo: Client,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// For the first value that is missing or invalid; the error names it.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let todo = settings.required(
            "TODO_URL",
            "the address of the service `todo`",
            "http://127.0.0.1:5001",
        )?;
        Ok(Self {
            address: BindAddress::from_settings(settings, DEFAULT_PORT)?,
            database_url: settings.required(
                "DATABASE_URL",
                "the address of a database",
                "sqlite:users.db",
            )?,
            todo: Client::new("TODO_URL", &todo, Timeouts::default())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_name_the_variable() {
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
