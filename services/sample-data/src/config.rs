//! The settings of this job.
//!
//! What is imported is part of the program and cannot be set.

use std::path::PathBuf;

use kit::client::Patience;
use kit::settings::SettingError;
use kit::{Client, Settings};

/// Everything that can be set.
#[derive(Debug)]
pub(crate) struct Config {
    /// `USERS_URL`, as the client that calls it.
    pub(crate) users: Client,
    /// `TODO_URL`, as the client that calls it.
    pub(crate) todo: Client,
    /// `DATA_DIR`: where the marker of a finished import lies.
    pub(crate) folder: PathBuf,
}

impl Config {
    /// Reads the settings; the first value that is missing or wrong is an error naming it.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let client = |name, example| {
            let base = settings.required(name, "the address of a service", example)?;
            Client::new(name, &base, Patience::default())
        };
        Ok(Self {
            users: client("USERS_URL", "http://127.0.0.1:5000")?,
            todo: client("TODO_URL", "http://127.0.0.1:5001")?,
            folder: settings.required("DATA_DIR", "a folder", "/tmp/sample")?.into(),
        })
    }
}
