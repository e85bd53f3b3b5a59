//! `schema`: prints the JSON schema of the metadata, for editors.

use xtask::cli::{Exit, print};

use crate::view::schema::schema;

pub(crate) fn run() -> anyhow::Result<Exit> {
    print::json_pretty(&schema())?;
    Ok(Exit::DONE)
}
