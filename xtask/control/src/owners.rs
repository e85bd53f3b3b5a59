//! Checks that no other user can create or replace the files of stacks.
//!
//! The checks are made before anything in the files is believed. Since no folder on the way can be
//! replaced either, their result stays true.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::paths::StackPaths;

/// Checks the owner and mode of a stack's folder and of every folder above it. A missing one has no
/// files, and is checked again when it is created.
///
/// # Errors
/// When another user could replace a file of the stack.
pub(crate) fn check_owners(paths: &StackPaths) -> io::Result<()> {
    let below = [paths.folder(), paths.workspace()];
    let above = paths.workspace().ancestors().skip(1).map(|folder| (folder, false));
    for (folder, own) in below.map(|folder| (folder, true)).into_iter().chain(above) {
        // What cannot be looked at cannot be read either.
        let Ok(found) = std::fs::symlink_metadata(folder) else { continue };
        let is_safe = if own { is_closed(&found) } else { keeps_entries(folder, &found) };
        if !is_safe {
            let text = format!(
                "`{}` belongs to another user or can be written by one, who could replace the \
                 files of stacks",
                folder.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
    }
    Ok(())
}

/// The link of another user on the way to a file or folder, or in its place; none if there is none.
/// In a folder that both can write to, such a link chooses what this user changes.
pub fn foreign_link(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let is_foreign = |path: &&Path| {
        std::fs::symlink_metadata(path).is_ok_and(|found| {
            found.is_symlink() && ![0, geteuid().as_raw()].contains(&found.uid())
        })
    };
    path.ancestors().find(is_foreign).map(Path::to_owned)
}

/// Whether no other user can replace a folder or one above it.
pub(crate) fn stays_in_place(folder: &Path) -> bool {
    let found = |folder| std::fs::symlink_metadata(folder).ok();
    let above = folder.ancestors().skip(1);
    above
        .filter_map(|above| Some((above, found(above)?)))
        .all(|(above, found)| keeps_entries(above, &found))
}

/// Whether this user owns a folder, and no other user can create or replace files in it.
///
/// # Errors
/// When the folder cannot be inspected.
pub fn is_written_by_owner_only(folder: &Path) -> io::Result<bool> {
    Ok(is_closed(&std::fs::metadata(folder)?))
}

/// Whether a folder is one of [`is_written_by_owner_only`] and no link: in a sticky folder, another
/// user can link to any folder of this user.
pub fn is_own_folder(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder).is_ok_and(|found| is_closed(&found))
}

fn is_closed(found: &Metadata) -> bool {
    found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0
}

/// Whether no other user can replace an entry of this user in a folder.
fn keeps_entries(folder: &Path, found: &Metadata) -> bool {
    let (mode, me) = (found.mode(), geteuid().as_raw());
    // In a sticky folder such as `/tmp`, only the owner of an entry can replace it.
    let is_sticky = mode & 0o1000 != 0;
    let others_write = mode & 0o002 != 0
        || mode & 0o020 != 0 && (has_list(folder) || !is_private_group(found.gid(), me));
    [me, 0].contains(&found.uid()) && (is_sticky || !others_write)
}

/// Whether an access control list may let further users write. The mode of such a folder shows its
/// mask in place of the group's permissions.
fn has_list(folder: &Path) -> bool {
    let mut value = [0_u8; 0];
    rustix::fs::getxattr(folder, "system.posix_acl_access", &mut value).is_ok()
}

/// Whether only this user and root are in a group: many systems give each user a group of its own,
/// and create folders that it can write to.
fn is_private_group(group: u32, user: u32) -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    group == 0 || has_no_others(group, user, &read("/etc/passwd"), &read("/etc/group"))
}

/// As [`is_private_group`], by the accounts and groups of these files. A group without a member in
/// them comes from a directory of the network, or is that of a container's process: it is private
/// if it has the number of its user.
fn has_no_others(group: u32, user: u32, accounts: &str, groups: &str) -> bool {
    let fields = |line| str::split(line, ':').collect::<Vec<_>>();
    let is = |fields: &[&str], index: usize, number: u32| {
        fields.get(index).is_some_and(|field| *field == number.to_string())
    };
    let accounts: Vec<_> = accounts.lines().map(fields).collect();
    let by_name = |name: &str| accounts.iter().find(|account| account.first() == Some(&name));
    let groups = groups.lines().map(fields).filter(|found| is(found, 2, group));
    let names: Vec<&str> = groups.filter_map(|found| found.get(3).copied()).collect();
    let names = names.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
    let primary = accounts.iter().filter(|account| is(account, 3, group)).map(Some);
    let members: Vec<_> = primary.chain(names.map(by_name)).collect();
    let is_trusted = |account: &Vec<&str>| is(account, 2, user) || is(account, 2, 0);
    match members.is_empty() {
        true => group == user,
        false => members.into_iter().all(|account| account.is_some_and(is_trusted)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::paths::{STATE_VARIABLE, stacks_in};

    #[test]
    fn folders_that_others_can_change_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let of = || {
            StackPaths::with_environment(Path::new("/workspace"), "dev", |name| {
                (name == STATE_VARIABLE).then(|| state.clone().into())
            })
        };
        let paths = of().unwrap();
        paths.create().unwrap();
        std::fs::write(paths.lock(), "").unwrap();
        let refused = |changed: &Path, mode: u32| {
            let before = std::fs::metadata(changed).unwrap().permissions();
            std::fs::set_permissions(changed, Permissions::from_mode(mode)).unwrap();
            let refused = of().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            let listed = stacks_in(paths.workspace()).len();
            std::fs::set_permissions(changed, before).unwrap();
            (refused, listed)
        };
        assert_eq!(refused(paths.folder(), 0o777), (true, 0));
        assert_eq!(refused(paths.folder(), 0o1777), (true, 0));
        assert_eq!(refused(paths.workspace(), 0o775), (true, 1));
        assert_eq!(refused(&state, 0o777), (true, 1));
        assert_eq!(refused(folder.path(), 0o777), (true, 1));
        // As `/tmp` is.
        assert_eq!(refused(&state, 0o1777), (false, 1));
        if !geteuid().is_root() {
            return xtask_client::harness::skipped("root");
        }
        for (changed, listed) in
            [(paths.folder(), 0), (paths.workspace(), 1), (&*state, 1), (folder.path(), 1)]
        {
            std::os::unix::fs::chown(changed, Some(65534), None).unwrap();
            assert!(of().is_err(), "{}", changed.display());
            assert_eq!(stacks_in(paths.workspace()).len(), listed);
            std::os::unix::fs::chown(changed, Some(0), None).unwrap();
        }
        // A group with members other than root.
        let shared = |path: &Path| std::os::unix::fs::chown(path, None, Some(65534)).unwrap();
        [&*state, folder.path()].into_iter().for_each(shared);
        assert_eq!(refused(&state, 0o775), (true, 1));
        assert_eq!(refused(folder.path(), 0o775), (true, 1));
        assert_eq!(refused(folder.path(), 0o1775), (false, 1));
    }

    #[test]
    fn folder_of_a_shared_group_is_refused() {
        let (accounts, groups) = (
            "root:x:0:0::/root:\nann:x:1000:1000::/:\nbob:x:1001:100::/:\neve:x:1002:1002::/:",
            "root:x:0:\nusers:x:100:\nann:x:1000:\nown:x:7:ann,root\nshared:x:8:ann,bob\nempty:x:9:\n\
             lost:x:10:ann,unknown",
        );
        for (group, user, expected) in [
            (1000, 1000, true),
            (7, 1000, true),
            (9, 1000, false),
            (8, 1000, false),
            (10, 1000, false),
            // The group of another account, which no line lists as a member.
            (100, 1000, false),
            (1002, 1000, false),
            (5000, 5000, true),
            (5000, 5001, false),
        ] {
            assert_eq!(has_no_others(group, user, accounts, groups), expected, "{group} {user}");
        }
        assert!(is_private_group(0, 1000));
    }

    #[test]
    fn links_of_others_are_found_anywhere_in_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let (own, link) = (folder.path().join("own"), folder.path().join("link"));
        std::fs::create_dir(&own).unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert_eq!(foreign_link(&link.join("file")), None);
        if !geteuid().is_root() {
            return xtask_client::harness::skipped("root");
        }
        std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
        assert_eq!(foreign_link(&link), Some(link.clone()));
        assert_eq!(foreign_link(&link.join("missing/file")), Some(link.clone()));
        assert_eq!(foreign_link(&own), None);
        let state = |path: PathBuf| {
            StackPaths::with_environment(Path::new("/workspace"), "dev", |name| {
                (name == STATE_VARIABLE).then(|| path.clone().into())
            })
        };
        state(own.join("state")).unwrap();
        let error = state(link.join("state")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("is a link of another user"), "{error}");
    }

    /// Between the first check and the creation, another user may create the folder of all state.
    #[test]
    fn create_refuses_a_folder_that_came_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let paths = StackPaths::with_environment(Path::new("/workspace"), "dev", |name| {
            (name == STATE_VARIABLE).then(|| state.clone().into())
        });
        std::fs::create_dir(&state).unwrap();
        std::fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
        let error = paths.unwrap().create().unwrap_err();
        assert!(error.to_string().contains("can be written by"), "{error}");
    }
}
