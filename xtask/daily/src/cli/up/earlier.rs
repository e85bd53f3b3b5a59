//! Finds the programs of an earlier build, for `--no-build`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::system::fresh_folder::FreshFolder;
use anyhow::{Context, bail};
use xtask_control::cargo;
use xtask_core::plan::{Plan, Program};

use super::build::Message;
use crate::workspace;
use crate::workspace::target_folder::{profile_folder, program_folders};

/// The folder with the plan's programs.
///
/// If several folders have some, for different targets, cargo's settings decide.
pub(super) fn folder(plan: &Plan, target: &Path, profile: &str) -> anyhow::Result<PathBuf> {
    let mut folders = program_folders(target, profile);
    folders.retain(|folder| programs(plan).any(|name| folder.join(name).is_file()));
    match folders.pop() {
        None => Ok(target.join(profile_folder(profile))),
        Some(only) if folders.is_empty() => Ok(only),
        Some(_) => Ok(target.join(present_folder(profile)?)),
    }
}

fn programs(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.services.iter().filter_map(|service| match &service.program {
        Program::Artifact { binary, .. } => Some(&**binary),
        Program::Command { .. } | Program::External | Program::Image { .. } => None,
    })
}

/// The folder of cargo's present settings, relative to the target directory.
///
/// No stable command of cargo prints it. So cargo builds an empty package, which takes no lock of
/// the workspace.
fn present_folder(profile: &str) -> anyhow::Result<PathBuf> {
    let folder = FreshFolder::new()?;
    let root = folder.path().canonicalize().context("failed to resolve a folder")?;
    let mut manifest =
        "[package]\nname = \"empty\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n".to_owned();
    if !["dev", "release", "test", "bench"].contains(&profile) {
        manifest += &format!("[profile.{profile}]\ninherits = \"dev\"\n");
    }
    let (path, target) = (root.join("Cargo.toml"), root.join("target"));
    let written =
        fs::write(&path, manifest).and_then(|()| fs::write(root.join("lib.rs"), "#![no_std]"));
    written.context("failed to write an empty package")?;
    let mut cargo = cargo(Path::new("."));
    cargo.args(["build", "--quiet", "--offline", "--message-format=json", "--profile", profile]);
    cargo.arg("--manifest-path").arg(&path).arg("--target-dir").arg(&target);
    let output = cargo.output().map_err(workspace::no_cargo)?;
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let mut files = messages.filter_map(|line| {
        let message: Message = serde_json::from_slice(line).ok()?;
        message.filenames.into_iter().next()
    });
    let file = files.next().map(PathBuf::from);
    let Some(built) = file.as_ref().and_then(|file| file.parent()?.strip_prefix(&target).ok())
    else {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("failed to find the folder of cargo's programs: {}", said.trim());
    };
    Ok(built.to_path_buf())
}
