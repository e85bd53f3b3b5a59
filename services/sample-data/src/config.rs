//! The settings of this job.
//!
//! The sample is part of the program and has no setting.

use std::path::PathBuf;

use kit::client::Timeouts;
use kit::settings::SettingError;
use kit::{Client, Settings};

/// All settings.
#[derive(Debug)]
pub(crate) struct Config {
    /// The client for `USERS_URL`.
    pub(crate) users: Client,
    /// The client for `TODO_URL`.
    pub(crate) todo: Client,
    /// `DATA_DIR`, the folder of the marker file.
    pub(crate) folder: PathBuf,
}

impl Config {
    /// Reads the settings; the error names the first value that is missing or invalid.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let client = |name, example| {
            let base = settings.required(name, "the address of a service", example)?;
            Client::new(name, &base, Timeouts::default())
        };
        Ok(Self {
            users: client("USERS_URL", "http://127.0.0.1:5000")?,
            todo: client("TODO_URL", "http://127.0.0.1:5001")?,
            folder: settings.required("DATA_DIR", "a folder", "/tmp/sample")?.into(),
        })
    }
}
