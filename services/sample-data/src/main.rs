//! `sample-data`: a job that imports two files of sample data through the HTTP API of the services.
//!
//! The owners of the sample have no account, so it needs `OPEN_OWNERS`. It changes and removes
//! nothing. A run after an interrupted one imports the rest. A run after a complete one does
//! nothing, so data that a person removed stays removed.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod import;
mod marker;
mod sample;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use kit::Settings;
use kit::service::{self, Fatal};

use crate::import::Importer;
use crate::marker::Marker;
use crate::sample::Sample;

fn main() -> ExitCode {
    service::run_job("sample-data", run)
}

async fn run(settings: Settings) -> Result<(), Fatal> {
    let open = settings.parsed("OPEN_OWNERS", false, "`true` or `false`")?;
    if !open {
        println!("sample data is not imported, because `OPEN_OWNERS` is off");
        return Ok(());
    }
    let importer = Importer::from_settings(&settings)?;
    let marker = Marker::new(settings.required("DATA_DIR", "a folder", "/tmp/sample")?);
    if marker.exists()? {
        println!("sample data is already imported");
        return Ok(());
    }
    let sample = Sample::built_in()?;
    let counts = importer.import(&sample).await?;
    marker.write(&counts)?;
    println!("{counts}");
    Ok(())
}
