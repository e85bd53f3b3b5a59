//! The sources of a program that cargo built, from the `.d` file that cargo writes beside it.
//!
//! The launcher includes this file too, so it uses the standard library only.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The files that the program was built from, also those of its dependencies in the workspace and
/// those that build scripts and `include_str!` read. Empty if cargo wrote no list.
pub fn listed(program: &Path) -> Vec<PathBuf> {
    let list = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    // Cargo writes a space inside a path as `\ `.
    let sources = sources.lines().next().unwrap_or_default().replace("\\ ", "\0");
    sources.split_ascii_whitespace().map(|path| path.replace('\0', " ").into()).collect()
}

/// A source of the program that was changed after `built`, if there is one.
pub fn newer(program: &Path, built: SystemTime) -> Option<PathBuf> {
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    listed(program).into_iter().find(|path| modified(path).is_some_and(|source| source > built))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn source_with_a_space_is_found() {
        let folder = std::env::temp_dir().join(format!("xt-sources-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (old, new) = (folder.join("old.rs"), folder.join("a new.rs"));
        let program = folder.join("program");
        let escaped = new.display().to_string().replace(' ', "\\ ");
        let list = format!("{}: {} {escaped}\n", program.display(), old.display());
        for (path, text) in [(&old, ""), (&new, ""), (&folder.join("program.d"), list.as_str())] {
            fs::write(path, text).expect("a file");
        }
        assert_eq!(listed(&program), [old.clone(), new.clone()]);
        let now = SystemTime::now();
        let touch = |path: &Path, time| {
            fs::File::options().append(true).open(path).and_then(|file| file.set_modified(time))
        };
        touch(&old, now - Duration::from_secs(9)).expect("a time");
        touch(&new, now + Duration::from_secs(9)).expect("a time");
        assert_eq!(newer(&program, now), Some(new));
        assert_eq!(newer(&program, now + Duration::from_secs(20)), None);
        assert_eq!(newer(&folder.join("other"), now), None);
        fs::remove_dir_all(&folder).expect("the end");
    }
}
