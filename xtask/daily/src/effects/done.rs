//! The record of the jobs with `once` that are done, in the data folder whose deletion forgets it.
//!
//! Services can write to that folder, so no link in it is followed.

use std::fs::{DirBuilder, OpenOptions, symlink_metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use xtask_control::StackPaths;
use xtask_core::terms::Name;

/// The folder of the records, below the data folder.
const FOLDER: &str = ".done";

fn folder(state: &Path) -> PathBuf {
    StackPaths::at(state.to_path_buf()).data().join(FOLDER)
}

/// Whether the stack with this state folder has a record of the job.
pub(crate) fn is_done(state: &Path, job: &Name) -> bool {
    let is = |path: &Path, wanted: fn(&std::fs::Metadata) -> bool| {
        symlink_metadata(path).is_ok_and(|found| wanted(&found))
    };
    let folder = folder(state);
    is(&folder, std::fs::Metadata::is_dir) && is(&folder.join(job.as_str()), |file| file.is_file())
}

/// Records that the job is done.
///
/// # Errors
/// When the record cannot be created. The next stack runs the job again then.
pub(super) fn mark_done(state: &Path, job: &Name) -> io::Result<()> {
    let folder = folder(state);
    let created = DirBuilder::new().mode(0o700).create(&folder);
    if !symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
        return created.and(Err(ErrorKind::NotADirectory.into()));
    }
    let file = OpenOptions::new().write(true).create_new(true).open(folder.join(job.as_str()));
    match file {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_follows_no_link() {
        let state = tempfile::tempdir().unwrap();
        let job = Name::from("seed");
        let (data, other) = (state.path().join("data"), state.path().join("other"));
        assert!(mark_done(state.path(), &job).is_err(), "there is no data folder");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::create_dir(&other).unwrap();
        assert!(!is_done(state.path(), &job));
        std::os::unix::fs::symlink(&other, data.join(FOLDER)).unwrap();
        assert!(mark_done(state.path(), &job).is_err());
        assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);
        std::fs::remove_file(data.join(FOLDER)).unwrap();
        for _ in 0..2 {
            mark_done(state.path(), &job).unwrap();
            assert!(is_done(state.path(), &job));
        }
    }
}
