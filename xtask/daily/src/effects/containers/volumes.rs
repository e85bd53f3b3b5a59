//! Prepares the folders of this machine that a container mounts.
//!
//! The supervisor of root gives them to the user that containers run as. Without root,
//! containers run as the caller, and owners stay.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, chownat, fchown, fstat, openat, statat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use xtask_core::stack::effect::{Container, ImageOrigin};

use super::ContainerError;
use super::root_fs::USER;
use super::stack::StackContainers;
use crate::effects::process::notify::NotifySocket;
use crate::system::task;

/// The flags that open a folder and nothing else.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Creates the folders that the container mounts. The data folder is given to its user with
/// all content, because other services write there too; another folder only if it is new.
/// The data folder may be a symbolic link, for example to a larger disk: no service can
/// replace it.
pub(crate) async fn prepare(
    containers: &StackContainers,
    container: &Container,
    notify: Option<&NotifySocket>,
) -> Result<(), ContainerError> {
    let paths: Vec<PathBuf> =
        container.volumes.iter().map(|volume| PathBuf::from(&volume.outside)).collect();
    let notify = notify.map(|socket| socket.path().to_path_buf());
    let change_owner = geteuid().is_root() && container.origin == ImageOrigin::Built;
    let data = containers.data();
    let prepare = move || {
        for path in &paths {
            let exists = path.exists();
            if !exists {
                // No other account writes to it, whatever the umask is.
                let created = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
                created.map_err(ContainerError::io("create", path))?;
            }
            if change_owner && (!exists || *path == data) {
                let how = if *path == data { FOLDER.difference(OFlags::NOFOLLOW) } else { FOLDER };
                let failed = ContainerError::io("give the user of containers the folder", path);
                give(path, how).map_err(failed)?;
            }
        }
        if let Some(path) = notify {
            // Only the stack's user can enter its folder.
            let all_users = fs::Permissions::from_mode(0o666);
            let failed = ContainerError::io("give the user of containers the socket", &path);
            fs::set_permissions(&path, all_users).map_err(failed)?;
        }
        Ok(())
    };
    // The task fails only with the runtime.
    task::spawn_blocking(prepare).await.unwrap_or(Err(ContainerError::Cancelled))
}

/// Makes the user of containers the owner of a folder and its content, as far as the caller
/// owns it. Files of another account keep their owner, for example those of a database server.
///
/// Services may replace a folder by a link meanwhile. So each folder is held open, and its
/// entries are not reached through a path. `how` decides whether the first one may be a link.
fn give(path: &Path, how: OFlags) -> io::Result<()> {
    Ok(give_folder(openat(CWD, path, how, Mode::empty())?.as_fd())?)
}

fn give_folder(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    let owner = Uid::from_raw(fstat(folder)?.st_uid);
    if owner == geteuid() {
        fchown(folder, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))?;
    } else if owner.as_raw() != USER {
        return Ok(());
    }
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        match give_entry(folder, entry.file_name()) {
            // Another service has just removed or replaced the entry.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn give_entry(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let about = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(about.st_mode) == FileType::Directory {
        return give_folder(openat(folder, name, FOLDER, Mode::empty())?.as_fd());
    }
    if Uid::from_raw(about.st_uid) == geteuid() {
        let user = (Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)));
        chownat(folder, name, user.0, user.1, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, lchown, symlink};

    use xtask_core::plan::Volume;

    use super::*;
    use crate::system::mark::Marks;

    /// Whether this test can change owners; otherwise it is reported as skipped.
    fn can_change_owner() -> bool {
        if !geteuid().is_root() {
            xtask_client::harness::skipped("root");
        }
        geteuid().is_root()
    }

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn files_of_other_accounts_keep_their_owner() {
        if !can_change_owner() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("server/below")).unwrap();
        fs::create_dir_all(at("deep/er")).unwrap();
        fs::write(at("deep/er/file"), "").unwrap();
        fs::write(at("server/file"), "").unwrap();
        fs::write(at("ours"), "").unwrap();
        symlink(at("server/file"), at("link")).unwrap();
        lchown(at("server"), Some(999), Some(999)).unwrap();
        for _ in 0..2 {
            give(folder.path(), FOLDER).unwrap();
        }
        let owners = |names: &[&str]| names.iter().map(|name| owner(&at(name))).collect::<Vec<_>>();
        assert_eq!(owners(&["", "ours", "link", "deep/er", "deep/er/file"]), [USER; 5]);
        assert_eq!(owners(&["server", "server/file", "server/below"]), [999, 0, 0]);
    }

    #[tokio::test]
    async fn owner_changes_behind_a_linked_data_folder() {
        if !can_change_owner() {
            return;
        }
        let (stack, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let containers = StackContainers::of(stack.path(), Marks::test("s.m"));
        let (data, file) = (containers.data(), disk.path().join("file"));
        fs::write(&file, "").unwrap();
        symlink(disk.path(), &data).unwrap();
        let outside = data.to_str().unwrap().to_owned();
        let container = Container {
            image: String::new(),
            origin: ImageOrigin::Built,
            ports: Vec::new(),
            volumes: vec![Volume { inside: "/data".to_owned(), outside }],
            neighbours: Vec::new(),
        };
        prepare(&containers, &container, None).await.unwrap();
        assert_eq!([owner(disk.path()), owner(&file), owner(&data)], [USER, USER, 0]);
        assert!(give(&data, FOLDER).is_err(), "only the data folder may be a link");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn folder_replaced_by_a_link_is_not_followed() {
        use rustix::fs::{RenameFlags, renameat_with};
        use std::sync::atomic::{AtomicBool, Ordering};

        if !can_change_owner() {
            return;
        }
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = elsewhere.path().join("outside");
        fs::write(&outside, "").unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir(&real).unwrap();
        symlink(elsewhere.path(), &link).unwrap();
        let over = AtomicBool::new(false);
        let given = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let given = (0..5_000).try_for_each(|_| give(folder.path(), FOLDER));
            over.store(true, Ordering::Relaxed);
            given
        });
        given.unwrap();
        assert_eq!((owner(elsewhere.path()), owner(&outside)), (0, 0));
    }
}
