//! Finds the manifests that cargo cannot parse, so that the mistake is reported like any
//! other problem.
//!
//! It follows `members` with folders and `*`, and finds binaries at the usual paths. Nothing
//! is built from its result.

use std::fs;
use std::path::{Path, PathBuf};

use xtask_core::manifest::{Binary, Manifest, Package, Table, ValueKind, Workspace};
use xtask_core::problem::Problem;

use crate::workspace::document::manifest;

/// Longer manifests are left to cargo's message: rendering the place of the mistake would
/// take a minute.
const LONGEST_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the manifests around `start`, if one of them is not TOML.
pub(crate) fn read(start: &Path) -> Option<(Workspace, Vec<Problem>)> {
    let start = start.canonicalize().ok()?;
    let above: Vec<PathBuf> =
        start.ancestors().map(|folder| folder.join("Cargo.toml")).filter(|p| p.is_file()).collect();
    let nearest = if start.is_file() { Some(start.clone()) } else { above.first().cloned() }?;
    let mut root = nearest.parent()?.to_path_buf();
    let is_long =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.len() > LONGEST_MANIFEST_BYTES);
    if above.iter().any(is_long) {
        return None;
    }
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
        if is_long(&path) {
            return None;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let (mut read, mut found) = manifest(&root, &path, text);
        read.package = package(&read);
        manifests.push(read);
        problems.append(&mut found);
    }
    if problems.is_empty() {
        return None;
    }
    Some((Workspace { root: root.display().to_string(), manifests }, problems))
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

/// The folders that match one part of a pattern.
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

/// The package of a manifest, without cargo: binaries come from its name, `[[bin]]` and the
/// usual files.
fn package(manifest: &Manifest) -> Option<Package> {
    let table = manifest.root.table("package")?;
    let name = text(table, "name")?;
    let folder = Path::new(&manifest.folder);
    let mut names: Vec<String> = Vec::new();
    if folder.join("src/main.rs").is_file() {
        names.push(name.clone());
    }
    for entry in fs::read_dir(folder.join("src/bin")).into_iter().flatten().flatten() {
        names.extend(entry.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    if let Some(ValueKind::Array(items)) = manifest.root.get("bin").map(|bins| &bins.kind) {
        for item in items {
            let ValueKind::Table(bin) = &item.kind else { continue };
            if text(bin, "path").is_none_or(|path| path == "src/main.rs") {
                names.retain(|known| *known != name);
            }
            names.extend(text(bin, "name"));
        }
    }
    names.sort();
    names.dedup();
    let features = manifest.root.table("features").into_iter().flat_map(|table| &table.entries);
    Some(Package {
        spec: name.clone(),
        id: manifest.file.clone(),
        default_run: text(table, "default-run"),
        binaries: names.into_iter().map(|name| Binary { name, ..Binary::default() }).collect(),
        features: features.map(|(key, _)| key.name.clone()).collect(),
        name,
    })
}

fn text(table: &Table, key: &str) -> Option<String> {
    match &table.get(key)?.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    }
}
