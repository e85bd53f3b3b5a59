//! Accounts of this machine, for services that root runs as another user.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use libc::{gid_t, uid_t};
use rustix::process::geteuid;

/// An account that a process can become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub(crate) name: String,
    pub(crate) uid: uid_t,
    pub(crate) gid: gid_t,
    /// All its groups, the primary one included.
    pub(crate) groups: Vec<gid_t>,
    pub(crate) home: OsString,
}

/// Why no process can run as an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("this machine has no account `{0}`")]
    Unknown(String),
    #[error("only root can run a process as account `{0}`")]
    NotRoot(String),
    #[error("failed to read account `{name}`: {error}")]
    Lookup { name: String, error: io::Error },
}

impl AccountError {
    /// One edit or command that helps.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown(name) => format!(
                "create it (`useradd --system {name}`), or declare `user` in an overlay: \
                 `--with NAME`"
            ),
            Self::NotRoot(name) => format!(
                "run the tool as root, or declare `user = \"{name}\"` in an overlay: `--with NAME`"
            ),
            Self::Lookup { .. } => "`getent passwd` lists the accounts".to_owned(),
        }
    }
}

/// The account to become for a service with `user = "name"`; none if it is the caller's own.
///
/// # Errors
/// When there is no such account, or the caller is another one and not root.
pub fn to_become(name: &str) -> Result<Option<Account>, AccountError> {
    let failed = |error| AccountError::Lookup { name: name.to_owned(), error };
    let account = find(name).map_err(failed)?;
    let account = account.ok_or_else(|| AccountError::Unknown(name.to_owned()))?;
    let own = geteuid();
    match account.uid == own.as_raw() {
        true => Ok(None),
        false if own.is_root() => Ok(Some(account)),
        false => Err(AccountError::NotRoot(name.to_owned())),
    }
}

/// The account of that name, if there is one.
fn find(name: &str) -> io::Result<Option<Account>> {
    let Ok(text) = CString::new(name) else { return Ok(None) };
    let mut buffer = vec![0; 1024];
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found = std::ptr::null_mut();
    // SAFETY: every pointer is valid for the call, and the length is that of the buffer.
    while let number @ 1.. = unsafe {
        let (texts, length) = (buffer.as_mut_ptr(), buffer.len());
        libc::getpwnam_r(text.as_ptr(), entry.as_mut_ptr(), texts, length, &raw mut found)
    } {
        match number {
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 2, 0),
            libc::EINTR => {}
            // What the C library reports for an unknown name, besides success.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            number => return Err(io::Error::from_raw_os_error(number)),
        }
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: the call succeeded and found an entry, whose texts are in the buffer.
    let (uid, gid, home) = unsafe {
        let entry = entry.assume_init();
        (entry.pw_uid, entry.pw_gid, CStr::from_ptr(entry.pw_dir).to_bytes().to_vec())
    };
    let groups = groups(&text, gid)?;
    Ok(Some(Account { name: name.to_owned(), uid, gid, groups, home: OsString::from_vec(home) }))
}

/// The groups of an account with this primary group.
fn groups(name: &CStr, primary: gid_t) -> io::Result<Vec<gid_t>> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the list has room for `count` groups, and the name ends with a NUL.
        let filled = unsafe {
            let list = groups.as_mut_ptr();
            libc::getgrouplist(name.as_ptr(), primary as _, list, &raw mut count)
        };
        if filled >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return Ok(groups.into_iter().map(|group| group as gid_t).collect());
        }
        if groups.len() > 1 << 16 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        groups.resize(groups.len() * 2, 0);
    }
}

impl Account {
    /// The first folder on the way to the path that the account cannot enter. Access lists are not
    /// considered.
    pub(crate) fn barrier(&self, path: &Path) -> Option<PathBuf> {
        let folders: Vec<&Path> = path.ancestors().skip(1).collect();
        let closed = |folder: &&&Path| {
            let Ok(found) = std::fs::metadata(folder) else { return false };
            let needed = match () {
                () if found.uid() == self.uid => 0o100,
                () if self.groups.contains(&found.gid()) => 0o010,
                () => 0o001,
            };
            found.mode() & needed == 0
        };
        folders.iter().rev().find(closed).map(|folder| folder.to_path_buf())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn account_has_the_numbers_of_the_system() {
        let root = find("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(find("no such account").unwrap(), None);
        assert!(matches!(to_become("no such account"), Err(AccountError::Unknown(_))));
        let own = rustix::process::geteuid();
        match to_become("root") {
            Ok(account) => assert!(account.is_none() && own.is_root()),
            Err(error) => assert!(matches!(error, AccountError::NotRoot(_)) && !own.is_root()),
        }
    }

    #[test]
    fn closed_folder_on_the_way_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        let owner = std::fs::metadata(&inner).unwrap().uid();
        let (name, home) = ("other".to_owned(), OsString::new());
        let other = Account { name, uid: owner + 1, gid: 1 << 20, groups: vec![1 << 20], home };
        mode(folder.path(), 0o711);
        mode(&inner, 0o700);
        assert_eq!(other.barrier(&inner.join("file")), Some(inner.clone()));
        mode(&inner, 0o701);
        assert_eq!(other.barrier(&inner.join("file")), None);
        let own = Account { uid: owner, ..other };
        mode(&inner, 0o077);
        assert_eq!(own.barrier(&inner.join("file")), Some(inner.clone()));
    }
}
