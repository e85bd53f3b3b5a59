//! The root file system of an image, as a tar: the program, what loads it, and the few
//! files that programs expect of a system.
//!
//! There is no shell and nothing else to run. The same files give the same bytes, so that
//! their hash tells whether anything changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tar::{Builder, EntryType, Header};

use super::linked::{Linked, LinkedError, linked};

/// The folder of the program.
pub(crate) const PROGRAM_FOLDER: &str = "/app";

/// The number of the user and group that a program runs as, unless told otherwise.
pub(crate) const USER: u32 = 10001;

/// A folder that is the user's, for data that outlives the container: a new volume that is
/// mounted there gets its owner.
pub(crate) const DATA_FOLDER: &str = "/data";

/// Where systems keep the certificates that they trust.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where systems keep time zones.
const ZONES: &str = "/usr/share/zoneinfo";

/// How much of the system goes into an image beside the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// All that it needs: there is nothing below it.
    Whole,
    /// None: the base image has it.
    OfBase,
}

/// A root file system.
#[derive(Clone, Debug)]
pub(crate) struct RootFs {
    /// The bytes of the tar.
    pub(crate) tar: Vec<u8>,
    /// The program's path in it.
    pub(crate) program: String,
    /// The loader that the program names, if it names one.
    pub(crate) loader: Option<PathBuf>,
    /// What is not as it should be, and does not stand in the way.
    pub(crate) notes: Vec<String>,
}

/// Why a root file system cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootFsError {
    /// What the program needs is not known.
    #[error(transparent)]
    Linked(#[from] LinkedError),
    /// A file of it cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It cannot be put together.
    #[error("cannot pack an image")]
    Pack(#[source] io::Error),
}

/// Packs a program with what it needs.
///
/// # Errors
/// When the program is none for Linux, cannot be loaded, or a file cannot be read.
pub(crate) fn pack(program: &Path, system: System) -> Result<RootFs, RootFsError> {
    let linked = linked(program)?;
    let mut notes = Vec::new();
    let mut tree = Tree(Builder::new(Vec::new()));
    if system == System::Whole {
        tree.system(&mut notes)?;
        tree.libraries(&linked)?;
    }
    tree.data_folder()?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let path = format!("{PROGRAM_FOLDER}/{name}");
    let bytes = match stripped(program) {
        Ok(bytes) => bytes,
        Err(why) => {
            notes.push(format!("the program is not stripped: {why}"));
            read(program)?
        }
    };
    tree.file(&path, 0o755, &bytes)?;
    let tar = tree.0.into_inner().map_err(RootFsError::Pack)?;
    Ok(RootFs { tar, program: path, loader: linked.loader, notes })
}

/// A tar under way.
struct Tree(Builder<Vec<u8>>);

impl Tree {
    /// The files that programs expect of a system.
    fn system(&mut self, notes: &mut Vec<String>) -> Result<(), RootFsError> {
        self.add("/tmp", EntryType::Directory, 0o1777, &[], None)?;
        let user =
            format!("root:x:0:0:root:/:/nonexistent\napp:x:{USER}:{USER}:app:/:/nonexistent\n");
        self.file("/etc/passwd", 0o644, user.as_bytes())?;
        self.file("/etc/group", 0o644, format!("root:x:0:\napp:x:{USER}:\n").as_bytes())?;
        self.file("/etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
        match CERTIFICATES.iter().find_map(|path| fs::read(path).ok()) {
            Some(bytes) => self.file(CERTIFICATES[0], 0o644, &bytes)?,
            None => notes.push("this machine has no certificates to put into it".to_string()),
        }
        match fs::canonicalize(ZONES) {
            Ok(zones) => self.folder(&zones, ZONES, &["posix", "right"])?,
            Err(_) => notes.push("this machine has no time zones to put into it".to_string()),
        }
        Ok(())
    }

    /// The loader where the program wants it, and the libraries beside the C library: the
    /// loader looks there without being told.
    fn libraries(&mut self, linked: &Linked) -> Result<(), RootFsError> {
        if let Some(loader) = &linked.loader {
            self.file(&loader.to_string_lossy(), 0o755, &read(loader)?)?;
        }
        let c_library = linked.libraries.iter().find(|(name, _)| name.starts_with("libc.so"));
        let folder = c_library.and_then(|(_, path)| path.parent());
        for (name, path) in &linked.libraries {
            let folder = folder.or_else(|| path.parent()).unwrap_or(Path::new("/lib"));
            self.file(&folder.join(name).to_string_lossy(), 0o755, &read(path)?)?;
        }
        // The C library opens these by name to look hosts up; newer ones hold them inside.
        for name in ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"] {
            let listed = linked.libraries.iter().any(|(other, _)| other == name);
            if let Some(folder) = folder
                && !listed
                && let Ok(bytes) = fs::read(folder.join(name))
            {
                self.file(&folder.join(name).to_string_lossy(), 0o755, &bytes)?;
            }
        }
        Ok(())
    }

    /// Everything below a folder but what is left out, in order of name.
    fn folder(&mut self, folder: &Path, to: &str, without: &[&str]) -> Result<(), RootFsError> {
        let failed = |source| RootFsError::Read { path: folder.to_path_buf(), source };
        let entries = fs::read_dir(folder).map_err(failed)?;
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names.iter().filter(|name| !without.iter().any(|other| *name == other)) {
            let path = folder.join(name);
            let to = format!("{to}/{}", name.to_string_lossy());
            let kind = fs::symlink_metadata(&path).map_err(failed)?.file_type();
            let link =
                fs::read_link(&path).ok().filter(|link| kind.is_symlink() && link.is_relative());
            if let Some(link) = link {
                self.add(&to, EntryType::Symlink, 0o777, &[], Some(&link))?;
            } else if path.is_dir() {
                self.folder(&path, &to, &[])?;
            } else {
                self.file(&to, 0o644, &read(&path)?)?;
            }
        }
        Ok(())
    }

    fn data_folder(&mut self) -> Result<(), RootFsError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_uid(USER.into());
        header.set_gid(USER.into());
        header.set_size(0);
        let path = DATA_FOLDER.trim_start_matches('/');
        self.0.append_data(&mut header, path, io::empty()).map_err(RootFsError::Pack)
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<(), RootFsError> {
        self.add(path, EntryType::Regular, mode, bytes, None)
    }

    /// One entry, of root and without a time. Folders come by themselves.
    fn add(
        &mut self,
        path: &str,
        kind: EntryType,
        mode: u32,
        bytes: &[u8],
        link: Option<&Path>,
    ) -> Result<(), RootFsError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        let path = path.trim_start_matches('/');
        let added = match link {
            Some(link) => self.0.append_link(&mut header, path, link),
            None => self.0.append_data(&mut header, path, bytes),
        };
        added.map_err(RootFsError::Pack)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RootFsError> {
    fs::read(path).map_err(|source| RootFsError::Read { path: path.to_path_buf(), source })
}

/// The program without what only a debugger reads, or why it stays as it is.
fn stripped(program: &Path) -> Result<Vec<u8>, String> {
    let strip = which::which("strip").map_err(|_| "there is no `strip` in `PATH`".to_string())?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("stripped");
    let output = Command::new(strip).arg("-o").arg(&out).arg(program).output();
    let output = output.map_err(|error| format!("`strip` cannot be run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`strip` refused it: {}", said.trim()));
    }
    fs::read(&out).map_err(|error| error.to_string())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn names(tar: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn an_image_holds_the_program_and_its_loader_and_no_shell() {
        let program = std::env::current_exe().unwrap();
        let root = pack(&program, System::Whole).unwrap();
        let names = names(&root.tar);
        let has = |path: &str| names.iter().any(|name| *name == path.trim_start_matches('/'));
        assert!(has(&root.program), "{names:?}");
        assert!(has("/etc/passwd") && has("/tmp"), "{names:?}");
        assert!(root.loader.is_none_or(|loader| has(&loader.to_string_lossy())), "{names:?}");
        assert!(!names.iter().any(|name| name.ends_with("/sh")), "{names:?}");
    }

    #[test]
    fn the_same_program_gives_the_same_bytes() {
        let program = std::env::current_exe().unwrap();
        let pack = || pack(&program, System::Whole).unwrap().tar;
        assert!(pack() == pack());
    }

    #[test]
    fn beside_a_base_image_only_the_program_and_a_place_for_data_are_packed() {
        let program = std::env::current_exe().unwrap();
        let root = pack(&program, System::OfBase).unwrap();
        assert_eq!(names(&root.tar), ["data", root.program.trim_start_matches('/')]);
    }
}
