//! Folders for files that are renamed or deleted soon.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A new folder that only this user can enter. Dropping it deletes it.
#[derive(Debug)]
pub(crate) struct FreshFolder(PathBuf);

impl FreshFolder {
    /// A folder in `parent` with a random name.
    ///
    /// # Errors
    /// When something of that name exists, and when the system fails. The text names the path.
    pub(crate) fn new_in(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!(".xtask-{}", random_hex::<8>()?));
        let created = DirBuilder::new().mode(0o700).create(&path);
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("failed to create `{}`: {error}", path.display()))
        };
        created.map_err(named)?;
        Ok(Self(path))
    }

    /// A folder in the system's folder for temporary files.
    ///
    /// # Errors
    /// As [`FreshFolder::new_in`].
    pub(crate) fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// The absolute or relative path, as `parent` was.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for FreshFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Random bytes of the system.
///
/// # Errors
/// When `/dev/urandom` cannot be read.
pub(crate) fn random<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Random bytes as hexadecimal digits.
///
/// # Errors
/// As [`random`].
pub(crate) fn random_hex<const BYTES: usize>() -> io::Result<String> {
    Ok(random::<BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn fresh_folder_is_private_and_deleted() {
        let parent = tempfile::tempdir().unwrap();
        let folder = FreshFolder::new_in(parent.path()).unwrap();
        let other = FreshFolder::new_in(parent.path()).unwrap();
        assert_ne!(folder.path(), other.path());
        let path = folder.path().to_path_buf();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(path.join("file"), "").unwrap();
        drop(folder);
        assert!(!path.exists() && other.path().exists());
        let error = FreshFolder::new_in(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
