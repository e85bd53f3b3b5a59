//! Finds what a program needs to be loaded: its loader and its libraries.
//!
//! It runs the loader's own listing, which follows all of its search rules and does not run
//! the program. Libraries that a program opens by name at run time are not found.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xtask_core::stack::LinkedProgram;

use super::error::ImageError;
use crate::effects::process::environment::LIBRARY_PATH;
use crate::system::elf::Elf;

/// What a program is linked with; empty for a static one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Linked {
    /// The loader's path, as the program names it.
    pub(crate) loader: Option<PathBuf>,
    /// The libraries: the name that the program asks for, and the path of the file.
    pub(crate) libraries: Vec<(String, PathBuf)>,
}

/// Finds what a program needs.
pub(crate) fn linked(program: &LinkedProgram) -> Result<Linked, ImageError> {
    let library_path = program.library_path.join(":");
    let program = Path::new(&program.path);
    let path = || program.to_path_buf();
    let file = File::open(program).map_err(ImageError::io("read", program))?;
    let elf = Elf::of(file).ok_or_else(|| ImageError::NotLinux { program: path() })?;
    let Some(loader) = elf.loader() else { return Ok(Linked::default()) };
    let mut list = Command::new(&loader);
    list.arg("--list").arg(program).env(LIBRARY_PATH, library_path).env_remove("LD_PRELOAD");
    let output = list.output().map_err(ImageError::io("list the libraries of", program))?;
    if let Some(message) = complaint(&output) {
        return Err(ImageError::Unloadable { program: path(), message });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(Linked { libraries: libraries(&text, &loader), loader: Some(loader) })
}

/// The error in a loader's listing, if there is one. A library's name may contain the word
/// "error", so only the end of a line and the exit status count.
pub(crate) fn complaint(output: &Output) -> Option<String> {
    let out = String::from_utf8_lossy(&output.stdout);
    let missing = out.lines().find(|line| line.ends_with("=> not found"));
    if let Some(line) = missing {
        return Some(line.trim().to_owned());
    }
    if output.status.success() {
        return None;
    }
    let err = String::from_utf8_lossy(&output.stderr);
    let line = err.lines().chain(out.lines()).map(str::trim).find(|line| !line.is_empty());
    Some(line.map_or_else(|| format!("its loader ended with {}", output.status), str::to_owned))
}

/// The libraries in a listing: `NAME => PATH (ADDRESS)`. The listing also contains the loader,
/// and the kernel's library, which has no file.
fn libraries(listing: &str, loader: &Path) -> Vec<(String, PathBuf)> {
    let line = |line: &str| {
        let (name, rest) = line.trim().split_once(" => ")?;
        let path = Path::new(rest.rsplit_once(" (").map_or(rest, |(path, _)| path).trim());
        let own = Path::new(name) == loader || path == loader;
        let name = Path::new(name).file_name()?.to_string_lossy().into_owned();
        (!own && path.is_absolute()).then(|| (name, path.to_path_buf()))
    };
    let mut found: Vec<_> = listing.lines().filter_map(line).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn listing_contains_only_libraries_with_files() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffc)\n\
             \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\
             \tlibown.so => /opt/a (b)/libown.so (0x00007f)\n";
        assert_eq!(
            libraries(listing, Path::new("/lib64/ld-linux-x86-64.so.2")),
            [
                ("libc.so.6".to_string(), PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6")),
                ("libown.so".to_string(), PathBuf::from("/opt/a (b)/libown.so")),
            ]
        );
    }

    #[test]
    fn complaint_is_missing_library_or_failed_loader() {
        let output = |code: i32, out: &str, err: &str| Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: out.into(),
            stderr: err.into(),
        };
        let fine = "\tlibgpg-error.so.0 => /opt/errors/libgpg-error.so.0 (0x00007f)\n";
        assert_eq!(complaint(&output(0, fine, "")), None);
        let missing = complaint(&output(0, "\tlibx.so => not found\n", ""));
        assert_eq!(missing.as_deref(), Some("libx.so => not found"));
        let failed = complaint(&output(127, fine, "\nerror while loading\nmore\n"));
        assert_eq!(failed.as_deref(), Some("error while loading"));
        assert!(complaint(&output(1, "", "")).is_some_and(|line| line.contains("exit status: 1")));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn libraries_of_this_program_exist() {
        let program = std::env::current_exe().unwrap().display().to_string();
        let linked = linked(&program.into()).unwrap();
        assert_eq!(linked.loader.is_some(), !linked.libraries.is_empty());
        assert!(linked.libraries.iter().all(|(_, path)| path.exists()), "{linked:?}");
    }

    #[test]
    fn script_is_not_a_program_for_linux() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let error = linked(&script.display().to_string().into()).unwrap_err().to_string();
        assert!(error.contains("is not a program for Linux"), "{error}");
    }
}
