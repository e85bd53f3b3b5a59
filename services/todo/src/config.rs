//! The settings of this service.
//!
//! Logging has its own variables, read by the kit.

use kit::Settings;
use kit::listener::Address;
use kit::settings::SettingError;

/// The port when `PORT` is not set.
pub const DEFAULT_PORT: u16 = 5001;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `HOST` and `PORT`; not used when a socket is inherited.
    pub address: Address,
    /// `DATABASE_URL`.
    pub database_url: String,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// For the first value that is missing or wrong, naming it.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            address: Address::from_settings(settings, DEFAULT_PORT)?,
            database_url: settings.required(
                "DATABASE_URL",
                "the address of a database",
                "sqlite:todo.db",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_database_and_a_bad_port_are_errors_that_name_the_variable() {
        for (pairs, name) in [
            (vec![], "`DATABASE_URL` is not set"),
            (vec![("DATABASE_URL", "sqlite:x"), ("PORT", "http")], "`PORT` is `http`"),
        ] {
            let error = Config::from_settings(&Settings::from_pairs(pairs)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
