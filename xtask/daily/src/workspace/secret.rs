//! The secret of a stack, from which its metadata makes passwords.
//!
//! A file of this user holds random bytes, and the secret is a hash of them and of the stack's
//! folder. So it is the same at each start, and differs between stacks and users.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::system::fresh_folder::{FreshFolder, random};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use xtask_control::StackPaths;
use xtask_control::own_file::open_private;

/// The file with the random bytes, in the folder of all state.
const FILE: &str = "secret";

/// The number of random bytes.
const LENGTH: usize = 32;

/// The file with the random bytes.
pub(crate) fn file(paths: &StackPaths) -> PathBuf {
    paths.folder().ancestors().nth(2).unwrap_or(paths.folder()).join(FILE)
}

/// The secret of a stack: 32 hexadecimal digits. An export has another one than the stack.
///
/// # Errors
/// When the file belongs to another user, others can read it, or the system fails.
pub(crate) fn of(paths: &StackPaths, exported: bool) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(seed(&file(paths))?);
    hash.update([u8::from(exported)]);
    hash.update(paths.folder().as_os_str().as_encoded_bytes());
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// The random bytes, which the first call writes.
fn seed(path: &Path) -> io::Result<[u8; LENGTH]> {
    let mut file = match open_private(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path)?;
            open_private(path)?
        }
        opened => opened?,
    };
    let mut bytes = [0; LENGTH];
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let text = format!("`{}` is shorter than {LENGTH} bytes", path.display());
            Err(io::Error::new(error.kind(), text))
        }
        read => read.map(|()| bytes),
    }
}

/// Writes a complete file at once. Another command may do so at the same time; the first one wins.
fn create(path: &Path) -> io::Result<()> {
    let state = path.parent().unwrap_or(path);
    // Whatever the umask is.
    DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    let folder = FreshFolder::new_in(state)?;
    let fresh = folder.path().join(FILE);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&random::<LENGTH>()?)?;
    let placed = match renameat_with(CWD, &fresh, CWD, path, RenameFlags::NOREPLACE) {
        // Network file systems may not support this flag.
        Err(Errno::INVAL | Errno::NOSYS) => fs::hard_link(&fresh, path),
        renamed => renamed.map_err(io::Error::from),
    };
    match placed {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn secret_belongs_to_one_stack_and_user() {
        let (state, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let paths = |state: &Path, stack| StackPaths::at(state.join("workspace").join(stack));
        let dev = of(&paths(state.path(), "dev"), false).unwrap();
        assert_eq!(dev.len(), 32);
        assert_eq!(of(&paths(state.path(), "dev"), false).unwrap(), dev);
        assert_ne!(of(&paths(state.path(), "dev"), true).unwrap(), dev);
        assert_ne!(of(&paths(state.path(), "other"), false).unwrap(), dev);
        assert_ne!(of(&paths(other.path(), "dev"), false).unwrap(), dev);
        let file = state.path().join(FILE);
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = of(&paths(state.path(), "dev"), false).unwrap_err();
        assert!(error.to_string().contains("only this user can read"), "{error}");
        std::fs::write(&file, "cut off").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let error = of(&paths(state.path(), "dev"), false).unwrap_err();
        assert!(error.to_string().contains("shorter than 32 bytes"), "{error}");
        // In a shared folder of state, another user could choose the bytes by a link.
        let moved = state.path().join("moved");
        std::fs::rename(&file, &moved).unwrap();
        std::os::unix::fs::symlink(moved, &file).unwrap();
        let error = of(&paths(state.path(), "dev"), false).unwrap_err();
        assert!(error.to_string().contains("only this user can read"), "{error}");
    }

    #[test]
    fn concurrent_commands_get_one_secret() {
        let state = tempfile::tempdir().unwrap();
        let path = &state.path().join(FILE);
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| seed(path).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|seed| *seed == all[0]));
    }
}
