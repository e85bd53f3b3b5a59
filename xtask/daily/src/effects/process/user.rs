//! Prepares the files of a run as another account: the folder that belongs to it, and the way
//! there.
//!
//! The account gets no access to anything else of the stack. Folders that are not the stack's keep
//! their mode: then the run fails, and the reason names the folder.

use std::fs::{DirBuilder, Permissions, set_permissions, symlink_metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use xtask_core::stack::effect::RunAs;

use crate::effects::error::Error;
use crate::system::account::Account;

/// How many folders of the tool are above that of the stack: the workspace's, and that of all
/// state.
const OUTER_FOLDERS: usize = 2;

/// Creates the folder of the run for the account, and checks that it can reach folder and program.
/// `state` is the state folder of the stack.
///
/// # Errors
/// When a folder on the way is closed to the account, or the system fails.
pub(super) fn prepare(
    account: &Account,
    user: &RunAs,
    state: &Path,
    program: &Path,
) -> Result<(), Error> {
    let barrier = |file: &Path, is_data| match account.barrier(file) {
        None => Ok(()),
        Some(folder) => Err(Error::Barrier {
            account: account.name.clone(),
            folder,
            file: user.folder.as_ref().filter(|_| is_data).map_or(file.into(), PathBuf::from),
            is_data,
        }),
    };
    barrier(program, false)?;
    let Some(folder) = user.folder.as_ref().map(Path::new) else { return Ok(()) };
    let failed = |error| Error::DataFolder { folder: folder.to_path_buf(), error };
    open_way(account, folder, state).and_then(|()| give(account, folder)).map_err(failed)?;
    barrier(&folder.join("file"), true)
}

/// Lets the account pass the folders above its own. Data and stack folder admit its group only,
/// because services may keep readable files there. The folders above have only private entries, and
/// stacks with other accounts, so they admit all.
fn open_way(account: &Account, folder: &Path, state: &Path) -> io::Result<()> {
    let inner = [folder.parent(), Some(state)].into_iter().flatten().map(|own| (own, 0o010));
    let outer = state.ancestors().skip(1).take(OUTER_FOLDERS).map(|own| (own, 0o011));
    for (own, pass) in inner.chain(outer) {
        let found = symlink_metadata(own)?;
        if !found.is_dir() || found.uid() != geteuid().as_raw() {
            continue;
        }
        if pass == 0o010 && !account.groups.contains(&found.gid()) {
            // A folder for the group of another account stays that.
            if found.gid() != getegid().as_raw() {
                continue;
            }
            lchown(own, None, Some(account.gid))?;
        }
        if found.mode() & pass != pass {
            set_permissions(own, Permissions::from_mode(found.mode() & 0o7777 | pass))?;
        }
    }
    Ok(())
}

/// Makes the folder one of the account. Its parent is the supervisor's, so no other account can
/// replace it meanwhile.
fn give(account: &Account, folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    match found.uid() == account.uid {
        true => Ok(()),
        false => lchown(folder, Some(account.uid), Some(account.gid)),
    }
}
