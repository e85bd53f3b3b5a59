//! Finds other worktrees that build in the same target directory: cargo silently takes the
//! programs of one worktree for those of the other.
//!
//! Each workspace that builds there is recorded in the directory, and cargo lists the sources
//! of each program in a `.d` file. Workspaces without a package in common may share a
//! directory. The caller decides whether to build.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use xtask_core::sorted::SortedSet;

use rustix::fs::{FlockOperation, flock};
use toml::de::DeTable;
use xtask_control::sources;

/// The file with the roots of the workspaces, a JSON string a line.
const ROOTS: &str = "xtask-roots";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Built {
    /// Its manifest, relative to the workspace's root.
    pub(crate) manifest: String,
    pub(crate) name: String,
    pub(crate) binaries: Vec<String>,
}

/// The name of the folder of a profile.
pub(crate) fn profile_folder(profile: &str) -> &str {
    match profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        other => other,
    }
}

/// The folders with programs of a profile: one for this machine, and one for each target.
pub(crate) fn program_folders(target: &Path, profile: &str) -> Vec<PathBuf> {
    let targets = fs::read_dir(target).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = std::iter::once(target.to_path_buf()).chain(targets);
    all.map(|folder| folder.join(profile_folder(profile))).filter(|path| path.is_dir()).collect()
}

/// Another worktree that builds one of these packages with this profile in the target directory.
/// Without another one, the workspace at `root` is recorded.
///
/// Files that cannot be read or written are ignored: cargo reports whether it can build.
pub(crate) fn other_builder(
    target: &Path,
    profile: &str,
    root: &Path,
    packages: &[Built],
) -> Option<PathBuf> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let mut file = roots_file(target).ok();
    let known = file.as_mut().and_then(|file| read_roots(file).ok()).unwrap_or_default();
    let compiled = packages.iter().flat_map(|package| compiled_by(target, profile, package));
    let other =
        known.iter().cloned().chain(compiled).find(|other| {
            !is_same(other, &root) && packages.iter().any(|package| has(other, package))
        });
    if other.is_none()
        && !known.contains(&root)
        && let Some(file) = &mut file
    {
        let _ = serde_json::to_string(&root).map(|line| writeln!(file, "{line}"));
    }
    other
}

/// The file, locked until it is closed.
fn roots_file(target: &Path) -> io::Result<File> {
    fs::create_dir_all(target)?;
    let path = target.join(ROOTS);
    let file = File::options().create(true).read(true).append(true).open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

fn read_roots(file: &mut File) -> io::Result<SortedSet<PathBuf>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The roots to which the sources of a package's programs belong, from cargo's `.d` files: of each
/// source the innermost folder with the package, because a worktree may be inside another one.
fn compiled_by(target: &Path, profile: &str, package: &Built) -> SortedSet<PathBuf> {
    let folders = program_folders(target, profile);
    let programs = folders
        .iter()
        .flat_map(|folder| package.binaries.iter().map(move |binary| folder.join(binary)));
    let sources: Vec<PathBuf> = programs.flat_map(|program| sources::listed(&program)).collect();
    let ancestors = sources.iter().flat_map(|source| source.ancestors().skip(1));
    let ancestors: SortedSet<&Path> = ancestors.collect();
    let roots: SortedSet<&Path> = ancestors.into_iter().filter(|root| has(root, package)).collect();
    let innermost = sources.iter().filter_map(|source| {
        let mut ancestors = source.ancestors();
        ancestors.find(|root| roots.contains(root)).map(Path::to_path_buf)
    });
    innermost.collect()
}

/// Whether the workspace at `root` has this package at the same path.
fn has(root: &Path, package: &Built) -> bool {
    let text = fs::read_to_string(root.join(&package.manifest)).unwrap_or_default();
    let manifest = DeTable::parse(&text).ok();
    let name = manifest.as_ref().and_then(|table| {
        table.get_ref().get("package")?.get_ref().get("name")?.get_ref().as_str()
    });
    name == Some(&package.name)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    one == other || identity(one).is_some_and(|one| Some(one) == identity(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn root(&self, name: &str, package: &str) -> PathBuf {
            let folder = self.0.path().join(name);
            fs::create_dir_all(folder.join("apps/shop/src")).unwrap();
            let manifest = format!("[package]\nname = \"{package}\"\n");
            fs::write(folder.join("apps/shop/Cargo.toml"), manifest).unwrap();
            folder.canonicalize().unwrap()
        }

        fn other(&self, root: &Path, name: &str) -> Option<PathBuf> {
            let package = Built {
                manifest: "apps/shop/Cargo.toml".to_owned(),
                name: name.to_owned(),
                binaries: vec!["shopd".to_owned()],
            };
            other_builder(&self.0.path().join("target"), "dev", root, &[package])
        }
    }

    #[test]
    fn profile_maps_to_cargos_folder() {
        assert_eq!(profile_folder("dev"), "debug");
        assert_eq!(profile_folder("release"), "release");
        assert_eq!(profile_folder("tuned"), "tuned");
    }

    #[test]
    fn first_worktree_owns_the_directory_until_deleted() {
        let fixture = Fixture::new();
        let (one, two) = (fixture.root("one", "shop"), fixture.root("a second one", "shop"));
        for _ in 0..2 {
            assert_eq!(fixture.other(&one, "shop"), None);
            assert_eq!(fixture.other(&two, "shop"), Some(one.clone()));
        }
        fs::remove_dir_all(&one).unwrap();
        assert_eq!(fixture.other(&two, "shop"), None);
        assert_eq!(fixture.other(&fixture.root("one", "shop"), "shop"), Some(two));
    }

    #[test]
    fn workspaces_without_common_package_share_a_directory() {
        let fixture = Fixture::new();
        let (one, two) = (fixture.root("one", "shop"), fixture.root("two", "stock"));
        assert_eq!(fixture.other(&one, "shop"), None);
        assert_eq!(fixture.other(&two, "stock"), None);
        let link = fixture.0.path().join("link");
        std::os::unix::fs::symlink(&one, &link).unwrap();
        assert_eq!(fixture.other(&link, "shop"), None, "a link to the same folder");
    }

    #[test]
    fn worktree_built_by_cargo_alone_is_found() {
        let fixture = Fixture::new();
        let (one, two) = (fixture.root("wt one", "shop"), fixture.root("two", "shop"));
        let folder = fixture.0.path().join("target/some-target/debug");
        fs::create_dir_all(&folder).unwrap();
        let source = one.join("apps/shop/src/main.rs").display().to_string().replace(' ', "\\ ");
        fs::write(folder.join("shopd.d"), format!("{}/shopd: {source}\n", folder.display()))
            .unwrap();
        assert_eq!(fixture.other(&two, "shop"), Some(one.clone()));
        assert_eq!(fixture.other(&one, "shop"), None);
    }

    #[test]
    fn worktree_inside_another_is_its_own() {
        let fixture = Fixture::new();
        let outer = fixture.root("outer", "shop");
        let inner = fixture.root("outer/copies/inner", "shop");
        let folder = fixture.0.path().join("target/debug");
        fs::create_dir_all(&folder).unwrap();
        let source = inner.join("apps/shop/src/main.rs");
        let line = format!("{}/shopd: {}\n", folder.display(), source.display());
        fs::write(folder.join("shopd.d"), line).unwrap();
        assert_eq!(fixture.other(&inner, "shop"), None);
        assert_eq!(fixture.other(&outer, "shop"), Some(inner));
    }
}
