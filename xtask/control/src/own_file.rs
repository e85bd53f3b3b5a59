//! Opens files in folders where other users may have placed links, pipes or files of theirs.
//!
//! The checks are made on the open file, so that no other file can take its place after them.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::owners::foreign_link;

/// The mode of a file that only this user can read.
const PRIVATE: u32 = 0o600;

/// Opens a file of this user that no other user can read or has chosen.
///
/// # Errors
/// When it is a link, no regular file, another user's, readable for others, or has a second name;
/// and when the system fails.
pub fn open_private(path: &Path) -> io::Result<File> {
    let refused =
        || denied(format!("`{}` is not a file that only this user can read", path.display()));
    let file = open(OpenOptions::new().read(true), path)
        .map_err(|error| if is(&error, Errno::LOOP) { refused() } else { error })?;
    let found = file.metadata()?;
    if !found.is_file() || !is_own(&found) || found.mode() & 0o077 != 0 || found.nlink() != 1 {
        return Err(refused());
    }
    Ok(file)
}

/// Opens a file for secrets, and creates it if it is missing. Its content stays. Only this user can
/// read it from now on. A device, such as `/dev/null`, stays as it is.
///
/// # Errors
/// When it is a link, a pipe, another user's, or has a second name; when a link of another user is
/// on the way to it; and when the system fails.
pub fn open_for_secrets(path: &Path) -> io::Result<File> {
    if foreign_link(path).is_some() {
        return Err(denied("a link of another user leads to it"));
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(PRIVATE);
    let file = open(options, path).map_err(|error| match () {
        () if is(&error, Errno::LOOP) => denied("it is a link"),
        () if is(&error, Errno::NXIO) => denied(PIPE),
        () => error,
    })?;
    let found = file.metadata()?;
    let is_device = found.file_type().is_char_device();
    if !is_own(&found) && (!is_device || found.uid() != 0) {
        return Err(denied("it belongs to another user, who could read the secrets in it"));
    } else if is_device {
        return Ok(file);
    } else if !found.is_file() {
        return Err(denied(PIPE));
    } else if found.nlink() != 1 {
        return Err(denied("the file has a second name"));
    }
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(PRIVATE))?;
    Ok(file)
}

const PIPE: &str = "it is no regular file";

/// Follows no link at the end of the path, and waits for no other end of a pipe.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
    options.custom_flags(flags.bits().cast_signed()).open(path)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

fn is_own(found: &Metadata) -> bool {
    found.uid() == geteuid().as_raw()
}

fn denied(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, text.into())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// A folder with a private file, a link to it, a second name of another one, and a pipe.
    fn planted() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["own", "first"] {
            fs::write(at(name), "kept").unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(PRIVATE)).unwrap();
        }
        symlink(at("own"), at("link")).unwrap();
        symlink(at("missing"), at("dangling")).unwrap();
        fs::hard_link(at("first"), at("second")).unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        folder
    }

    #[test]
    fn planted_links_and_pipes_are_not_opened() {
        let folder = planted();
        let at = |name: &str| folder.path().join(name);
        let why = |opened: io::Result<File>| opened.err().map(|error| error.to_string());
        for (name, text) in [
            ("link", "it is a link"),
            ("dangling", "it is a link"),
            ("second", "second name"),
            ("pipe", "no regular file"),
        ] {
            let refused = why(open_for_secrets(&at(name))).unwrap();
            assert!(refused.contains(text), "{name}: {refused}");
            assert!(open_private(&at(name)).is_err(), "{name}");
        }
        // With a reader, opening a pipe succeeds.
        let reader = open(OpenOptions::new().read(true), &at("pipe")).unwrap();
        assert_eq!(why(open_for_secrets(&at("pipe"))).as_deref(), Some(PIPE));
        drop(reader);
        assert!(!at("missing").exists());
        open_private(&at("own")).unwrap();
        open_for_secrets(&at("own")).unwrap();
        assert_eq!(fs::read(at("own")).unwrap(), b"kept");
        open_for_secrets(Path::new("/dev/null")).unwrap();
    }

    #[test]
    fn files_of_others_are_not_opened() {
        let folder = planted();
        let own = folder.path().join("own");
        fs::set_permissions(&own, Permissions::from_mode(0o644)).unwrap();
        let error = open_private(&own).unwrap_err();
        assert!(error.to_string().contains("only this user can read"), "{error}");
        open_for_secrets(&own).unwrap();
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, PRIVATE);
        if !geteuid().is_root() {
            return xtask_client::harness::skipped("root");
        }
        let folder_link = folder.path().join("folder-link");
        symlink(folder.path(), &folder_link).unwrap();
        open_for_secrets(&folder_link.join("own")).unwrap();
        std::os::unix::fs::lchown(&folder_link, Some(65534), None).unwrap();
        let error = open_for_secrets(&folder_link.join("own")).unwrap_err();
        assert!(error.to_string().contains("link of another user"), "{error}");
        for name in ["own", "pipe"] {
            let path = folder.path().join(name);
            chown(&path, Some(65534), None).unwrap();
            // With a reader, opening a pipe succeeds.
            let _reader = open(OpenOptions::new().read(true), &path).unwrap();
            let error = open_for_secrets(&path).unwrap_err();
            assert!(error.to_string().contains("belongs to another user"), "{name}: {error}");
            assert!(open_private(&path).is_err(), "{name}");
        }
        assert_eq!(fs::read(&own).unwrap(), b"kept");
    }
}
