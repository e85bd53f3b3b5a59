//! Writes the files of an export into a folder, and destroys nothing that an export did not write.
//!
//! `LIST` in the folder names the files that exports wrote. A file that exists and is not in it is
//! refused before anything is written. Every file is new and renamed into place, so that no link
//! is followed and no reader sees half of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use xtask_control::owners::foreign_link;

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
    #[error("failed to export into `{}`: it is {what}", path.display())]
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
    if let Some(path) = foreign_link(folder) {
        return Err(ExportError::Folder { path, what: "a link of another user" });
    }
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
    let mut closed: BTreeMap<PathBuf, fs::File> = BTreeMap::new();
    for file in files.iter().filter(|file| file.access.is_secret()) {
        if let Some(parent) = folder.join(&file.path).parent().filter(|parent| *parent != folder) {
            closed.insert(parent.to_owned(), close(parent)?);
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
        let parent = path.parent().unwrap_or(folder);
        let parent = closed.get(parent).map_or_else(|| parent.to_owned(), through);
        replace(&parent, &path, &text, mode)?;
        written.push(path);
        if file.path != IGNORED {
            ours.insert(file.path.clone());
        }
    }
    let text: String = ours.iter().map(|path| format!("{path}\n")).collect();
    replace(folder, &list, &text, 0o644)?;
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

/// Makes a folder that only the caller may enter, and opens it. Another user who can write to the
/// parent may put another folder in its place, but not in that of the open one.
fn close(folder: &Path) -> Result<fs::File, ExportError> {
    let failed = |source| ExportError::Write { path: folder.to_owned(), source };
    let refused = |what| Err(ExportError::Folder { path: folder.to_owned(), what });
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let flags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW);
    let mut options = fs::OpenOptions::new();
    let opened = match options.read(true).custom_flags(flags.bits().cast_signed()).open(folder) {
        Err(_) if fs::symlink_metadata(folder).is_ok_and(|found| found.is_symlink()) => {
            return refused("a link");
        }
        opened => opened.map_err(failed)?,
    };
    if opened.metadata().map_err(failed)?.uid() != rustix::process::geteuid().as_raw() {
        return refused("another user's");
    }
    opened.set_permissions(Permissions::from_mode(0o700)).map_err(failed)?;
    Ok(opened)
}

/// A path that leads to an open folder.
fn through(folder: &fs::File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// Writes a new file in the folder `parent`, and renames it into place. `path` is its path for
/// messages.
fn replace(parent: &Path, path: &Path, text: &str, mode: u32) -> Result<(), ExportError> {
    let written = || -> io::Result<()> {
        fs::create_dir_all(parent)?;
        let mut builder = tempfile::Builder::new();
        let mut fresh = builder.permissions(Permissions::from_mode(mode)).tempfile_in(parent)?;
        fresh.write_all(text.as_bytes())?;
        // Whatever the umask is.
        fresh.as_file().set_permissions(Permissions::from_mode(mode))?;
        let name = path.file_name().unwrap_or_default();
        fresh.persist(parent.join(name)).map_err(|error| error.error)?;
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

    /// Another user who owns the parent moves the folder of secrets away meanwhile.
    #[test]
    fn secrets_stay_in_the_folder_that_was_closed() {
        let root = tempfile::tempdir().unwrap();
        let (secrets, moved) = (root.path().join("secrets"), root.path().join("moved"));
        let closed = close(&secrets).unwrap();
        fs::rename(&secrets, &moved).unwrap();
        fs::create_dir(&secrets).unwrap();
        replace(&through(&closed), &secrets.join("s.TOKEN"), "hush", 0o644).unwrap();
        assert_eq!(fs::read_to_string(moved.join("s.TOKEN")).unwrap(), "hush");
        assert_eq!((mode(&moved), fs::read_dir(&secrets).unwrap().count()), (0o700, 0));
    }

    #[test]
    fn link_of_another_user_is_no_output_folder() {
        if !rustix::process::geteuid().is_root() {
            return xtask_client::harness::skipped("root");
        }
        let root = tempfile::tempdir().unwrap();
        let (own, link) = (root.path().join("own"), root.path().join("link"));
        fs::create_dir(&own).unwrap();
        symlink(&own, &link).unwrap();
        write(&link.join("of-the-caller"), &files("new")).unwrap();
        fs::remove_dir_all(own.join("of-the-caller")).unwrap();
        std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
        for output in [link.clone(), link.join("below")] {
            let error = write(&output, &files("new")).unwrap_err();
            assert!(error.to_string().contains("a link of another user"), "{error}");
        }
        assert_eq!(fs::read_dir(&own).unwrap().count(), 0);
    }
}
