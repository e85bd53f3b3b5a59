//! Finds the manifests that Cargo could not read, so that the mistake is shown as any
//! other is.
//!
//! Without Cargo it knows little: it follows `members` as far as folders and `*` go,
//! and describes no binaries.

use std::fs;
use std::path::{Path, PathBuf};

use xtask_core::manifest::{Manifest, Package, ValueKind, Workspace};
use xtask_core::problem::Problem;

use super::workspace::{Gathered, manifest};

/// The manifests around `start`, if one of them is not TOML.
pub(super) fn gather(start: &Path) -> Option<(Gathered, Vec<Problem>)> {
    let start = start.canonicalize().ok()?;
    let above: Vec<PathBuf> =
        start.ancestors().map(|folder| folder.join("Cargo.toml")).filter(|p| p.is_file()).collect();
    let nearest = if start.is_file() { Some(start.clone()) } else { above.first().cloned() }?;
    let mut root = nearest.parent()?.to_path_buf();
    for path in &above {
        let text = fs::read_to_string(path).ok()?;
        let folder = path.parent()?;
        let (read, problems) = manifest(folder, path, text);
        if !problems.is_empty() || read.root.get("workspace").is_some() {
            root = folder.to_path_buf();
            break;
        }
    }
    let mut paths = vec![root.join("Cargo.toml")];
    let text = fs::read_to_string(&paths[0]).ok()?;
    let (first, _) = manifest(&root, &paths[0], text);
    paths.extend(members(&root, &first));
    if !paths.contains(&nearest) {
        paths.push(nearest);
    }
    let (mut manifests, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let (mut read, mut found) = manifest(&root, &path, text);
        read.package = package(&read);
        manifests.push(read);
        problems.append(&mut found);
    }
    if problems.is_empty() {
        return None;
    }
    let workspace = Workspace { root: root.display().to_string(), manifests };
    Some((Gathered { workspace, target_directory: root.join("target") }, problems))
}

/// The manifests of the members, sorted.
fn members(root: &Path, first: &Manifest) -> Vec<PathBuf> {
    let Some(members) = first.root.table("workspace").and_then(|w| w.get("members")) else {
        return Vec::new();
    };
    let ValueKind::Array(items) = &members.kind else { return Vec::new() };
    let mut out = Vec::new();
    for item in items {
        let ValueKind::String(pattern) = &item.kind else { continue };
        let mut folders = vec![root.to_path_buf()];
        for part in pattern.split('/') {
            folders = folders.iter().flat_map(|folder| step(folder, part)).collect();
        }
        out.extend(folders.into_iter().map(|f| f.join("Cargo.toml")).filter(|p| p.is_file()));
    }
    out.sort();
    out.dedup();
    out
}

/// The folders that one part of a pattern leads to.
fn step(folder: &Path, part: &str) -> Vec<PathBuf> {
    let Some((before, after)) = part.split_once('*') else { return vec![folder.join(part)] };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(before) && name.ends_with(after)
        })
        .map(|entry| entry.path())
        .collect()
}

/// The little that a manifest says of its package by itself.
fn package(manifest: &Manifest) -> Option<Package> {
    let name = manifest.root.table("package")?.get("name")?;
    let ValueKind::String(name) = &name.kind else { return None };
    Some(Package { id: name.clone(), name: name.clone(), ..Package::default() })
}
