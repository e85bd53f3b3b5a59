//! The folders and files of a workspace that git does not ignore.
//!
//! Folders that cargo writes are left out whatever git says: target directories are known from
//! cargo, or have a `CACHEDIR.TAG`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

/// Folders of version control, whose files are no sources.
const REPOSITORIES: [&str; 4] = [".git", ".hg", ".jj", ".svn"];

#[derive(Debug, Default)]
pub(crate) struct Tree {
    root: PathBuf,
    /// The folders in which cargo builds.
    outputs: Vec<PathBuf>,
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

/// What a walk found that was not known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) folders: Vec<PathBuf>,
}

impl Tree {
    /// A tree without a file. Call [`Tree::walk`] next.
    pub(crate) fn new(root: &Path, outputs: &[PathBuf]) -> Self {
        Self { root: root.to_path_buf(), outputs: outputs.to_vec(), ..Self::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Adds what is below a folder, the folder included.
    pub(crate) fn walk(&mut self, from: &Path) -> Found {
        let mut found = Found::default();
        for (path, is_folder) in self.entries(from, None) {
            if is_folder && self.folders.insert(path.clone()) {
                found.folders.push(path);
            } else if !is_folder && self.files.insert(path.clone()) {
                found.files.push(path);
            }
        }
        found
    }

    pub(crate) fn has_file(&self, path: &Path) -> bool {
        self.files.contains(path)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter()
    }

    /// Whether git and cargo leave an existing file or folder to the user. A file is then known.
    pub(crate) fn admits(&mut self, path: &Path) -> bool {
        if self.files.contains(path) || self.folders.contains(path) {
            return true;
        }
        let Some(parent) = path.parent().filter(|parent| self.folders.contains(*parent)) else {
            return false;
        };
        let entry = self.entries(parent, Some(1)).into_iter().find(|(found, _)| found == path);
        if let Some((path, false)) = &entry {
            self.files.insert(path.clone());
        }
        entry.is_some()
    }

    /// Forgets a path and everything below it. Returns what was known.
    pub(crate) fn forget(&mut self, path: &Path) -> Found {
        let take = |known: &mut BTreeSet<PathBuf>| {
            let gone: Vec<_> = known
                .range(path.to_path_buf()..)
                .take_while(|known| known.starts_with(path))
                .cloned()
                .collect();
            for path in &gone {
                known.remove(path);
            }
            gone
        };
        Found { files: take(&mut self.files), folders: take(&mut self.folders) }
    }

    /// The entries at and below `from`, each with whether it is a folder. A link is a file.
    fn entries(&self, from: &Path, depth: Option<usize>) -> Vec<(PathBuf, bool)> {
        let outputs = self.outputs.clone();
        let mut walk = WalkBuilder::new(from);
        walk.hidden(false).ignore(false).max_depth(depth).filter_entry(move |entry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            let is_repository = REPOSITORIES.iter().any(|name| entry.file_name() == *name);
            let is_output = outputs.iter().any(|output| output == entry.path())
                || (is_folder && entry.path().join("CACHEDIR.TAG").is_file());
            !is_repository && !is_output
        });
        let entries = walk.build().flatten();
        let kind = |entry: ignore::DirEntry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            (entry.into_path(), is_folder)
        };
        entries.map(kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn workspace() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [".git", "a/src", "target/debug", "other-target", "node_modules/x"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join(".gitignore"), "node_modules\n*.tmp\n").unwrap();
        fs::write(root.join("other-target/CACHEDIR.TAG"), "").unwrap();
        for path in ["a/src/main.rs", "target/debug/a.d", "node_modules/x/y.js", "a/b.tmp"] {
            fs::write(root.join(path), "").unwrap();
        }
        let mut tree = Tree::new(root, &[root.join("target")]);
        tree.walk(root);
        (folder, tree)
    }

    #[test]
    fn ignored_files_and_build_folders_are_left_out() {
        let (folder, tree) = workspace();
        let names = |paths: &BTreeSet<PathBuf>| -> Vec<String> {
            let below = paths.iter().map(|path| path.strip_prefix(folder.path()).unwrap());
            below.map(|path| path.display().to_string()).collect()
        };
        assert_eq!(names(&tree.files), [".gitignore", "a/src/main.rs"]);
        assert_eq!(names(&tree.folders), ["", "a", "a/src"]);
    }

    #[test]
    fn new_paths_are_admitted_unless_git_ignores_them() {
        let (folder, mut tree) = workspace();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a/new.rs"), "").unwrap();
        fs::write(path("a/new.tmp"), "").unwrap();
        assert!(tree.admits(&path("a/new.rs")) && tree.has_file(&path("a/new.rs")));
        assert!(!tree.admits(&path("a/new.tmp")));
        assert!(!tree.admits(&path("node_modules/x/y.js")));
    }

    #[test]
    fn forgotten_folder_is_found_again() {
        let (folder, mut tree) = workspace();
        let a = folder.path().join("a");
        let gone = tree.forget(&a);
        assert_eq!((gone.files.len(), gone.folders.len()), (1, 2));
        assert_eq!(tree.walk(&a), gone);
    }
}
