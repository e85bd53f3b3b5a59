//! What an installation wrote, so that it can be updated and removed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::text::{hash, read};
use crate::{Error, MEMBER};

/// The path of the record in the host.
pub(crate) const RECORD: &str = "xtask/installed.json";

/// The record of an installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What the file is for.
    pub(crate) about: String,
    /// The version of the tool.
    pub(crate) version: String,
    /// The hash of each file by its path from the root.
    pub(crate) files: BTreeMap<String, String>,
    /// The files of the host that were edited, by their paths from the root.
    pub(crate) edits: BTreeMap<String, Edit>,
}

/// An edit of a file of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edit {
    /// The text before; `None` if the file did not exist.
    pub(crate) before: Option<String>,
    /// Whether the text before is left out, because the edit can be undone without it.
    #[serde(default)]
    pub(crate) reversible: bool,
    /// The hash of the edited file.
    pub(crate) after: String,
}

impl Record {
    /// The record in this workspace; `None` if the tool is not installed there.
    pub(crate) fn of(root: &Path) -> Result<Option<Self>, Error> {
        let path = root.join(RECORD);
        let Some(text) = read(&path)? else { return Ok(None) };
        let record = serde_json::from_str(&text);
        let message = |error: serde_json::Error| error.to_string();
        Ok(Some(record.map_err(|error| Error::Format { path, message: message(error) })?))
    }

    /// The recorded files that have other content now. A deleted one is restored without asking.
    pub(crate) fn edited(&self, root: &Path) -> Result<Vec<String>, Error> {
        let mut edited = Vec::new();
        for (path, recorded) in &self.files {
            let text = std::fs::read(root.join(path)).ok();
            if text.is_some_and(|text| hash(&text) != *recorded) {
                edited.push(path.clone());
            }
        }
        Ok(edited)
    }

    /// The record as text.
    pub(crate) fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Whether a recorded path is inside the folder of the launcher.
pub(crate) fn is_inside(path: &str) -> bool {
    Path::new(path).starts_with(MEMBER) && !path.split('/').any(|part| part == "..")
}
