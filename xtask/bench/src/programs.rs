//! The programs that are measured: the tool, the helper and the lower bound.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::command;

const HELPER: &str = include_str!("programs/helper.c");
const IDEAL: &str = include_str!("programs/ideal.c");

#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) tool: PathBuf,
    /// A service that is ready at once. No other benchmark executes this file.
    pub(crate) helper: PathBuf,
    /// The lower bound: a launcher without supervision.
    pub(crate) ideal: PathBuf,
    /// Holds helper and ideal.
    pub(crate) folder: tempfile::TempDir,
}

impl Programs {
    /// Compiles helper and lower bound with the system's C compiler, which Rust links with.
    pub(crate) fn compile(tool: PathBuf) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("xtask-bench-").tempdir();
        let folder = folder.context("failed to create a folder for the programs")?;
        let base = folder.path().canonicalize()?;
        let compile = |name: &str, source: &str| -> anyhow::Result<PathBuf> {
            let (file, program) = (base.join(name).with_extension("c"), base.join(name));
            fs::write(&file, source)?;
            // Not every system has the static C library.
            let cc = |link: &[&str]| {
                let mut cc = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
                cc.arg("-O2").args(link).arg("-o").arg(&program).arg(&file);
                command::run(&mut cc)
            };
            cc(&["-static"]).or_else(|_| cc(&[]))?;
            Ok(program)
        };
        let (helper, ideal) = (compile("helper", HELPER)?, compile("ideal", IDEAL)?);
        Ok(Self { tool, helper, ideal, folder })
    }
}

/// The root of this repository.
pub(crate) fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_path_buf()
}

/// The cargo that started this program.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or("cargo".into())
}
