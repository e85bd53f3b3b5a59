//! Writes the files of an export into a folder, and destroys nothing that an export did not write.
//!
//! `LIST` in the folder names the files that exports wrote. A file that exists and is not in it is
//! refused before anything is written. Every file is new and renamed into place, so that no link
//! is followed and no reader sees half of one.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use xtask::cli::Exit;
use xtask::cli::error::Failure;

use crate::view::export::{Access, File};

/// The file that names all files that exports wrote into its folder, a line each.
const LIST: &str = ".xtask-export";

/// The file whose lines are united with those that are there.
const IGNORED: &str = ".gitignore";

/// Why the files were not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// A file from elsewhere, a folder, or a link.
    #[error("failed to export: `{}` exists, and no export wrote it", path.display())]
    NotOurs { path: PathBuf },
    /// A link or a folder of another user where secrets would be written.
    #[error("failed to export secrets into `{}`: it is {what}", path.display())]
    Folder { path: PathBuf, what: &'static str },
    #[error("failed to write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let failure = Self::new(Exit::USAGE, error.to_string());
        match error {
            ExportError::NotOurs { .. } => {
                failure.hint("move it away, or export into another folder")
            }
            ExportError::Folder { .. } => failure.hint("export into another folder"),
            ExportError::Write { source, .. } => failure.cause(source),
        }
    }
}

/// Writes the files below `folder`, and returns their paths.
///
/// # Errors
/// When a file exists that no export wrote, when a folder of secrets is not the caller's, or when
/// the system refuses.
pub(crate) fn write(folder: &Path, files: &[File]) -> Result<Vec<PathBuf>, ExportError> {
    let list = folder.join(LIST);
    let mut ours: BTreeSet<String> = match read_own(&list)? {
        Some(text) => text.lines().map(ToOwned::to_owned).collect(),
        None => BTreeSet::new(),
    };
    for file in files.iter().filter(|file| file.path != IGNORED && !ours.contains(&file.path)) {
        let path = folder.join(&file.path);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(ExportError::NotOurs { path });
        }
    }
    for file in files.iter().filter(|file| file.access.is_secret()) {
        if let Some(parent) = folder.join(&file.path).parent().filter(|parent| *parent != folder) {
            close(parent)?;
        }
    }
    let mut written = Vec::new();
    for file in files {
        let path = folder.join(&file.path);
        let text = match file.path == IGNORED {
            true => united(read_own(&path)?.unwrap_or_default(), &file.text),
            false => file.text.clone(),
        };
        let mode = match file.access {
            Access::Public | Access::Handed => 0o644,
            Access::Secret => 0o600,
        };
        replace(&path, &text, mode)?;
        written.push(path);
        if file.path != IGNORED {
            ours.insert(file.path.clone());
        }
    }
    let text: String = ours.iter().map(|path| format!("{path}\n")).collect();
    replace(&list, &text, 0o644)?;
    Ok(written)
}

/// The text of a file that is no link; `None` if nothing is there.
fn read_own(path: &Path) -> Result<Option<String>, ExportError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(ExportError::NotOurs { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ExportError::Write { path: path.to_owned(), source }),
    }
    let text = fs::read_to_string(path);
    text.map(Some).map_err(|source| ExportError::Write { path: path.to_owned(), source })
}

/// Makes a folder that only the caller may enter.
fn close(folder: &Path) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write { path: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let metadata = fs::symlink_metadata(folder).map_err(failed)?;
    let what = match &metadata {
        m if !m.is_dir() => Some("a link"),
        m if m.uid() != rustix::process::geteuid().as_raw() => Some("another user's"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(ExportError::Folder { path: folder.to_owned(), what });
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)
}

/// Writes a new file, and renames it into place.
fn replace(path: &Path, text: &str, mode: u32) -> Result<(), ExportError> {
    let written = || -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        let mut builder = tempfile::Builder::new();
        let mut fresh = builder.permissions(Permissions::from_mode(mode)).tempfile_in(parent)?;
        fresh.write_all(text.as_bytes())?;
        // Whatever the umask is.
        fresh.as_file().set_permissions(Permissions::from_mode(mode))?;
        fresh.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    written().map_err(|source| ExportError::Write { path: path.to_owned(), source })
}

/// The lines of `text`, and those of `more` that it does not have.
fn united(mut text: String, more: &str) -> String {
    let missing: Vec<_> = more.lines().filter(|line| !text.lines().any(|l| l == *line)).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.extend(missing.into_iter().flat_map(|line| [line, "\n"]));
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn files(document: &str) -> Vec<File> {
        let file = |path: &str, text: &str, access| File {
            path: path.to_owned(),
            text: text.to_owned(),
            access,
        };
        vec![
            file("compose.yaml", document, Access::Public),
            file("secrets/s.TOKEN", "hush", Access::Handed),
            file(".gitignore", "/secrets/s.TOKEN\n", Access::Public),
        ]
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn export_keeps_what_it_did_not_write() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        fs::write(folder.join(".gitignore"), "mine").unwrap();
        fs::create_dir(folder.join("secrets")).unwrap();
        for document in ["one", "two"] {
            write(folder, &files(document)).unwrap();
            assert_eq!(fs::read_to_string(folder.join("compose.yaml")).unwrap(), document);
        }
        let ignored = fs::read_to_string(folder.join(".gitignore")).unwrap();
        assert_eq!(ignored, "mine\n/secrets/s.TOKEN\n");
        assert_eq!(mode(&folder.join("secrets")), 0o700);
    }

    #[test]
    fn foreign_files_and_links_are_refused() {
        for link in [false, true] {
            for path in ["compose.yaml", "secrets/s.TOKEN"] {
                let root = tempfile::tempdir().unwrap();
                let (kept, folder) = (root.path().join("kept"), root.path().join("out"));
                fs::create_dir_all(folder.join("secrets")).unwrap();
                let path = folder.join(path);
                match link {
                    true => symlink(&kept, &path).unwrap(),
                    false => fs::write(&path, "keep").unwrap(),
                }
                let error = write(&folder, &files("new")).unwrap_err();
                assert!(
                    matches!(&error, ExportError::NotOurs { path: p } if *p == path),
                    "{error}"
                );
                assert!(!kept.exists());
                assert!(!folder.join(".gitignore").exists());
            }
        }
    }

    #[test]
    fn secrets_are_not_written_into_a_linked_folder() {
        let root = tempfile::tempdir().unwrap();
        let (away, folder) = (root.path().join("away"), root.path().join("out"));
        fs::create_dir_all(&away).unwrap();
        fs::create_dir(&folder).unwrap();
        symlink(&away, folder.join("secrets")).unwrap();
        let error = write(&folder, &files("new")).unwrap_err();
        assert!(matches!(error, ExportError::Folder { .. }), "{error}");
        assert_eq!(fs::read_dir(&away).unwrap().count(), 0);
    }
}
