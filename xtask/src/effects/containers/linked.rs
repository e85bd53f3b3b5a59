//! What a program needs to be loaded: its loader, and the libraries that the loader
//! finds for it.
//!
//! The loader is asked itself, without running the program: only it knows every rule by
//! which it searches. Libraries that a program opens later by name are not found here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind};

/// What a program is linked with; nothing for a static one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Linked {
    /// The loader, where the program wants it.
    pub(crate) loader: Option<PathBuf>,
    /// Libraries by the name that is searched for, each with where it was found.
    pub(crate) libraries: Vec<(String, PathBuf)>,
}

/// Why it is not known what a program needs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkedError {
    /// The file cannot be read.
    #[error("cannot read `{}`", program.display())]
    Read {
        /// The program.
        program: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// StackContainers run programs for Linux.
    #[error("`{}` is not a program for Linux, and containers run no others", program.display())]
    Foreign {
        /// The program.
        program: PathBuf,
    },
    /// The loader cannot be asked.
    #[error("cannot ask the loader `{}` what `{}` needs", loader.display(), program.display())]
    Loader {
        /// The loader.
        loader: PathBuf,
        /// The program.
        program: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The loader does not find everything.
    #[error("`{}` cannot be loaded here: {said}", program.display())]
    Unloadable {
        /// The program.
        program: PathBuf,
        /// The loader's words.
        said: String,
    },
}

/// Finds out what `program` needs.
///
/// # Errors
/// When it is no program for Linux, or cannot be loaded on this machine.
pub(crate) fn linked(program: &Path) -> Result<Linked, LinkedError> {
    let bytes = fs::read(program)
        .map_err(|source| LinkedError::Read { program: program.to_path_buf(), source })?;
    let loader =
        loader(&bytes).ok_or_else(|| LinkedError::Foreign { program: program.to_path_buf() })?;
    let Some(loader) = loader else { return Ok(Linked::default()) };
    let output = Command::new(&loader)
        .arg("--list")
        .arg(program)
        // As the program itself is started: without what cargo adds for its own use.
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("LD_PRELOAD")
        .output()
        .map_err(|source| LinkedError::Loader {
            loader: loader.clone(),
            program: program.to_path_buf(),
            source,
        })?;
    if let Some(said) = complaint(&output) {
        return Err(LinkedError::Unloadable { program: program.to_path_buf(), said });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(Linked { libraries: libraries(&text, &loader), loader: Some(loader) })
}

/// What a loader complained about in a listing, if it did. Libraries and folders may be named
/// after errors, so words in a line say nothing.
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
    let said = err.lines().chain(out.lines()).map(str::trim).find(|line| !line.is_empty());
    Some(said.map_or_else(|| format!("its loader ended with {}", output.status), str::to_owned))
}

/// The loader that the program names, `Some(None)` for a static one; nothing if this is no
/// program for Linux.
fn loader(bytes: &[u8]) -> Option<Option<PathBuf>> {
    match FileKind::parse(bytes).ok()? {
        FileKind::Elf64 => interpreter::<FileHeader64<Endianness>>(bytes),
        FileKind::Elf32 => interpreter::<FileHeader32<Endianness>>(bytes),
        _ => None,
    }
}

fn interpreter<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Option<PathBuf>> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, bytes).ok()? {
        if let Some(path) = segment.interpreter(endian, bytes).ok()? {
            return Some(Some(PathBuf::from(std::str::from_utf8(path).ok()?)));
        }
    }
    Some(None)
}

/// The libraries in a listing: `NAME => PATH (ADDRESS)`. The loader stands there too, and
/// so does what the kernel maps, which has no file.
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
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn a_listing_gives_libraries_but_neither_the_loader_nor_the_kernels() {
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
    fn only_a_library_that_is_missing_and_a_failure_are_complaints() {
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
        assert!(complaint(&output(1, "", "")).is_some_and(|said| said.contains("exit status: 1")));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_program_names_its_loader_and_its_libraries_are_there() {
        let linked = linked(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(linked.loader.is_some(), !linked.libraries.is_empty());
        assert!(linked.libraries.iter().all(|(_, path)| path.exists()), "{linked:?}");
    }

    #[test]
    fn what_is_no_program_for_linux_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let error = linked(&script).unwrap_err().to_string();
        assert!(error.contains("is not a program for Linux"), "{error}");
    }
}
