//! What helps against an error of the system, whatever the tool was doing.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit};
use xtask_control::paths::STATE_VARIABLE;

/// One command or edit that helps; none if that depends on what failed.
pub(crate) fn way_out(error: &io::Error) -> Option<String> {
    match error.raw_os_error()? {
        libc::ENOSPC | libc::EDQUOT => {
            Some("delete files on that file system: `cargo clean` frees a target folder".to_owned())
        }
        libc::EMFILE => Some(more_open_files()),
        _ => None,
    }
}

/// As [`way_out`], for a file in the folder of all state.
pub(crate) fn way_out_of_state(error: &io::Error) -> Option<String> {
    match error.raw_os_error()? {
        libc::ENOSPC | libc::EDQUOT => Some(format!(
            "delete files on that file system, or set `{STATE_VARIABLE}` to a folder on another one"
        )),
        libc::EROFS | libc::EACCES | libc::EPERM | libc::ENOTDIR | libc::ELOOP => {
            Some(format!("set `{STATE_VARIABLE}` to a folder that this user can write"))
        }
        _ => way_out(error),
    }
}

/// As [`way_out`], for a file that the user named.
pub(crate) fn way_out_of_path(error: &io::Error) -> Option<String> {
    let text = match error.raw_os_error()? {
        libc::ENOENT => "check the path: `ls` shows the files of this folder",
        libc::EISDIR => "name a file, not a folder",
        libc::ENOTDIR => "a part of the path is a file: name a path through folders",
        libc::EACCES | libc::EPERM => "`ls -ld` with the path shows which user may access it",
        libc::EROFS => "name a path on a file system that can be written",
        libc::ENAMETOOLONG => "shorten the path",
        libc::ELOOP => "replace the symbolic link, which leads back to itself",
        _ => return way_out(error),
    };
    Some(text.to_owned())
}

/// The way out behind an error in one line.
pub(crate) fn behind(way_out: Option<String>) -> String {
    way_out.map(|text| format!("; {text}")).unwrap_or_default()
}

fn more_open_files() -> String {
    match getrlimit(Resource::Nofile) {
        Rlimit { current: Some(now), maximum: Some(most) } if now >= most => {
            format!("root can raise the hard limit of open files, now {most}: `ulimit -Hn`")
        }
        Rlimit { maximum: Some(most), .. } => format!("`ulimit -n {most}` allows more open files"),
        Rlimit { maximum: None, .. } => "`ulimit -n unlimited` allows more open files".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_file_system_has_a_way_out() {
        for code in [libc::ENOSPC, libc::EDQUOT] {
            let error = io::Error::from_raw_os_error(code);
            let delete = "; delete files on that file system";
            assert!(behind(way_out(&error)).starts_with(delete), "{error}");
            let in_state = behind(way_out_of_state(&error));
            assert!(in_state.starts_with(delete) && in_state.contains(STATE_VARIABLE), "{error}");
        }
        assert_eq!(behind(way_out(&io::Error::from_raw_os_error(libc::ENOENT))), "");
    }
}
