//! The commands that this program lacks: it builds one that has them through cargo and executes it,
//! with the same arguments, environment and name.
//!
//! Cargo decides whether there is something to build, so the program always matches its sources.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap_builder::error::ErrorKind;
use clap_builder::{ArgMatches, FromArgMatches, Subcommand};
use serde::Deserialize;
use xtask_control::called_as::{CALLED_AS_VARIABLE, name};
use xtask_control::cargo;

use super::brought::command_place;
use super::error::Error;
use super::exit::Exit;
use super::listed::{Listed, Program, TEST_E2E, lacked_by};
use super::{Global, MoreCommands, called_as, print};
use crate::view::style::BUSY;
use crate::workspace;

/// The folder of this package, from whose workspace cargo builds the programs.
const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

/// A command that the program of every day lacks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elsewhere(&'static Listed);

impl Elsewhere {
    /// The command that the arguments of this process name, if the program `own` lacks it.
    /// Arguments after the name are the business of the other program.
    pub(crate) fn named(own: Program) -> Option<Self> {
        named(called_as::arguments(), own).map(Self)
    }

    /// Replaces this process by the other program. Returns if that fails.
    pub(crate) fn execute(self) -> anyhow::Result<Exit> {
        let program = self.built()?;
        let mut command = Command::new(&program);
        command.env(CALLED_AS_VARIABLE, name());
        let error = command.args(called_as::arguments().iter().skip(1)).exec();
        Err(error).with_context(|| format!("failed to start `{}`", program.display()))
    }

    /// Builds the program into the target folder of this one.
    fn built(self) -> anyhow::Result<PathBuf> {
        let (sources, name) = (Path::new(SOURCES), self.0.program.name());
        if !sources.is_dir() {
            bail!("failed to build `{name}`: its sources were in `{SOURCES}`");
        }
        let own = env::current_exe().ok();
        let beside = own.as_ref().map(|own| own.with_file_name(name));
        if !beside.is_some_and(|beside| beside.exists()) {
            let text = format!("`{name}`, which has the command `{}`", self.0.name);
            print::progress(BUSY, "Building", &text);
        }
        let mut cargo = cargo(Path::new("."));
        cargo.args(["build", "--package", name, "--bin", name]);
        cargo.arg("--message-format=json-render-diagnostics");
        cargo.arg("--manifest-path").arg(sources.join("Cargo.toml"));
        if let Some(target) = own.as_deref().and_then(target_folder) {
            cargo.arg("--target-dir").arg(target);
        }
        let cargo = cargo.stderr(Stdio::inherit()).output();
        let output = cargo.map_err(workspace::no_cargo)?;
        if !output.status.success() {
            // Cargo has printed the reason.
            return Err(Error::Reported(Exit::BUILD).into());
        }
        let lines = output.stdout.split(|byte| *byte == b'\n');
        let programs = lines.filter_map(|line| serde_json::from_slice::<Artifact>(line).ok());
        let program = programs.filter_map(|artifact| artifact.executable).next_back();
        program.with_context(|| format!("cargo reported no program `{name}`"))
    }
}

/// Whether the program with all commands is another one, and not built yet.
pub(crate) fn is_missing() -> bool {
    let own = env::current_exe().unwrap_or_default();
    let lacks = [Program::Daily, Program::Testing].map(Program::name);
    let is_other = own.file_name().is_some_and(|own| lacks.iter().any(|name| own == *name));
    is_other && !own.with_file_name(Program::All.name()).exists()
}

/// A message of cargo.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
}

/// The target folder that contains this program. Cargo marks a folder that it creates as a cache.
/// In one that was there before, such as a mount point, it only keeps what it knows of rustc.
fn target_folder(program: &Path) -> Option<&Path> {
    let marks = ["CACHEDIR.TAG", ".rustc_info.json"];
    program.ancestors().skip(1).find(|folder| {
        marks.iter().any(|mark| fs::exists(folder.join(mark)).is_ok_and(|exists| exists))
    })
}

/// The lacked command among the arguments, before clap reads them.
fn named(arguments: &[OsString], own: Program) -> Option<&'static Listed> {
    let place = command_place(arguments)?;
    let asks = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|ask| word == ask);
    if arguments[..place].iter().any(asks) {
        return None;
    }
    lacked_by(own).find(|listed| arguments[place] == listed.name)
}

// Clap sees the names only to propose one for a misspelt word.

impl FromArgMatches for Elsewhere {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap_builder::Error> {
        let name = matches.subcommand_name();
        let listed = lacked_by(Program::Daily).find(|listed| Some(listed.name) == name);
        listed.map(Self).ok_or_else(|| clap_builder::Error::new(ErrorKind::InvalidSubcommand))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap_builder::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Elsewhere {
    fn augment_subcommands(command: clap_builder::Command) -> clap_builder::Command {
        command.subcommands(lacked_by(Program::Daily).map(|listed| {
            let is_hidden = listed.name != TEST_E2E.name;
            clap_builder::Command::new(listed.name)
                .about(listed.about)
                .hide(is_hidden)
                .disable_help_flag(true)
        }))
    }

    fn augment_subcommands_for_update(command: clap_builder::Command) -> clap_builder::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        lacked_by(Program::Daily).any(|listed| listed.name == name)
    }
}

impl MoreCommands for Elsewhere {
    const PROGRAM: Program = Program::Daily;

    fn run(self, _: &Global) -> anyhow::Result<Exit> {
        self.execute()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_folder_that_cargo_did_not_create_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("debug/xtask");
        assert_ne!(target_folder(&program), Some(folder.path()));
        fs::write(folder.path().join(".rustc_info.json"), "{}").unwrap();
        assert_eq!(target_folder(&program), Some(folder.path()));
    }

    #[test]
    fn rare_command_is_found_behind_global_options() {
        let found = |words: &str| {
            let words = format!("xtask {words}");
            named(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>(), Program::Daily)
        };
        for words in ["export", "--stack up export", "--color=never export compose", "export -h"] {
            assert_eq!(found(words).map(|listed| listed.name), Some("export"), "{words}");
        }
        for words in ["", "up export", "--help export", "-- export", "--stack export", "exprot"] {
            assert!(found(words).is_none(), "{words}");
        }
    }
}
