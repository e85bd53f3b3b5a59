//! The settings of this service.
//!
//! `kit::telemetry` reads those of logging.

use kit::Settings;
use kit::listener::BindAddress;
use kit::settings::SettingError;

/// The default of `PORT`.
pub const DEFAULT_PORT: u16 = 5001;

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `HOST` and `PORT`; ignored when a socket is inherited.
    pub address: BindAddress,
    /// `DATABASE_URL`.
    pub database_url: String,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// For the first value that is missing or invalid; the error names it.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            address: BindAddress::from_settings(settings, DEFAULT_PORT)?,
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
    fn wrong_settings_name_the_variable() {
        for (pairs, name) in [
            (vec![], "`DATABASE_URL` is not set"),
            (vec![("DATABASE_URL", "sqlite:x"), ("PORT", "http")], "`PORT` is `http`"),
        ] {
            let error = Config::from_settings(&Settings::from_pairs(pairs)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
