//! Packs the root file system of an image as a tar: the program, its loader and libraries,
//! and the few files that programs expect of a system.
//!
//! It contains no shell and no other program. The same files give the same bytes, so their
//! hash identifies the content.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tar::{Builder, EntryType, Header};
use xtask_core::stack::LinkedProgram;

use super::error::ImageError;
use super::linked::{Linked, linked};
use crate::system::fresh_folder::FreshFolder;

pub const PROGRAM_FOLDER: &str = "/app";

/// The folder of libraries that a base image cannot have.
const LIBRARY_FOLDER: &str = "/app/lib";

/// Where systems have their libraries.
const SYSTEM_FOLDERS: [&str; 3] = ["/lib", "/lib64", "/usr"];

/// The default user id and group id of a program in a container.
pub const USER: u32 = 10001;

/// A folder of that user for data that outlives the container. A new volume that is mounted
/// there gets its owner.
pub const DATA_FOLDER: &str = "/data";

/// The places of trusted certificates on common systems.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const ZONES: &str = "/usr/share/zoneinfo";

/// Which files of the system the image gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// All that the program needs: there is no base image.
    Whole,
    /// None: the base image has them.
    OfBase,
}

#[derive(Clone, Debug)]
pub(crate) struct RootFs {
    pub(crate) tar: Vec<u8>,
    pub(crate) program: String,
    /// The loader that the program names, if it names one.
    pub(crate) loader: Option<PathBuf>,
    /// The folder that the loader must search too.
    pub(crate) library_folder: Option<&'static str>,
    /// Defects that do not keep the image from being built.
    pub(crate) notes: Vec<String>,
}

/// Packs a program with what it needs.
pub(crate) fn pack(program: &LinkedProgram, system: System) -> Result<RootFs, ImageError> {
    let linked = linked(program)?;
    let mut notes = Vec::new();
    let mut tree = Tree(Builder::new(Vec::new()));
    let mut library_folder = None;
    match system {
        System::Whole => {
            tree.system(&mut notes)?;
            tree.libraries(&linked)?;
        }
        System::OfBase => {
            let is_of_system = |path: &Path| {
                SYSTEM_FOLDERS.iter().any(|folder| path.starts_with(folder))
                    && !program.library_path.iter().any(|folder| path.starts_with(folder))
            };
            for (name, path) in linked.libraries.iter().filter(|(_, path)| !is_of_system(path)) {
                library_folder = Some(LIBRARY_FOLDER);
                tree.file(&format!("{LIBRARY_FOLDER}/{name}"), 0o755, &read(path)?)?;
            }
        }
    }
    let program = Path::new(&program.path);
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
    let tar = tree.0.into_inner().map_err(ImageError::Pack)?;
    Ok(RootFs { tar, program: path, loader: linked.loader, library_folder, notes })
}

struct Tree(Builder<Vec<u8>>);

impl Tree {
    fn system(&mut self, notes: &mut Vec<String>) -> Result<(), ImageError> {
        self.add("/tmp", EntryType::Directory, 0o1777, &[], None)?;
        let user =
            format!("root:x:0:0:root:/:/nonexistent\napp:x:{USER}:{USER}:app:/:/nonexistent\n");
        self.file("/etc/passwd", 0o644, user.as_bytes())?;
        self.file("/etc/group", 0o644, format!("root:x:0:\napp:x:{USER}:\n").as_bytes())?;
        self.file("/etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
        match CERTIFICATES.iter().find_map(|path| fs::read(path).ok()) {
            Some(bytes) => self.file(CERTIFICATES[0], 0o644, &bytes)?,
            None => notes.push("it has no certificates: this machine has none".to_string()),
        }
        match fs::canonicalize(ZONES) {
            Ok(zones) => self.folder(&zones, ZONES, &["posix", "right"])?,
            Err(_) => notes.push("it has no time zones: this machine has none".to_string()),
        }
        Ok(())
    }

    /// The loader at the path that the program names, and the libraries next to the C library,
    /// where the loader searches by default.
    fn libraries(&mut self, linked: &Linked) -> Result<(), ImageError> {
        if let Some(loader) = &linked.loader {
            self.file(&loader.to_string_lossy(), 0o755, &read(loader)?)?;
        }
        let c_library = linked.libraries.iter().find(|(name, _)| name.starts_with("libc.so"));
        let folder = c_library.and_then(|(_, path)| path.parent());
        for (name, path) in &linked.libraries {
            let folder = folder.or_else(|| path.parent()).unwrap_or(Path::new("/lib"));
            self.file(&folder.join(name).to_string_lossy(), 0o755, &read(path)?)?;
        }
        // Older C libraries open these by name to resolve host names.
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

    /// The content of a folder without the excluded names, in order of name.
    fn folder(&mut self, folder: &Path, to: &str, without: &[&str]) -> Result<(), ImageError> {
        let entries = fs::read_dir(folder).map_err(ImageError::io("read", folder))?;
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names.iter().filter(|name| !without.iter().any(|other| *name == other)) {
            let path = folder.join(name);
            let to = format!("{to}/{}", name.to_string_lossy());
            if let Some(link) = fs::read_link(&path).ok().filter(|link| link.is_relative()) {
                self.add(&to, EntryType::Symlink, 0o777, &[], Some(&link))?;
            } else if path.is_dir() {
                self.folder(&path, &to, &[])?;
            } else {
                self.file(&to, 0o644, &read(&path)?)?;
            }
        }
        Ok(())
    }

    fn data_folder(&mut self) -> Result<(), ImageError> {
        let mut header = header(EntryType::Directory, 0o755, 0);
        header.set_uid(USER.into());
        header.set_gid(USER.into());
        let path = DATA_FOLDER.trim_start_matches('/');
        self.0.append_data(&mut header, path, io::empty()).map_err(ImageError::Pack)
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<(), ImageError> {
        self.add(path, EntryType::Regular, mode, bytes, None)
    }

    /// One entry, owned by root and without a time. Engines create parent folders.
    fn add(
        &mut self,
        path: &str,
        kind: EntryType,
        mode: u32,
        bytes: &[u8],
        link: Option<&Path>,
    ) -> Result<(), ImageError> {
        let mut header = header(kind, mode, bytes.len());
        let path = path.trim_start_matches('/');
        let added = match link {
            Some(link) => self.0.append_link(&mut header, path, link),
            None => self.0.append_data(&mut header, path, bytes),
        };
        added.map_err(ImageError::Pack)
    }
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    fs::read(path).map_err(ImageError::io("read", path))
}

/// The program without debug information and symbols. The image works without this step.
fn stripped(program: &Path) -> io::Result<Vec<u8>> {
    let strip = which::which("strip").map_err(|_| io::Error::other("`strip` is not in `PATH`"))?;
    let folder = FreshFolder::new()?;
    let out = folder.path().join("stripped");
    let output = Command::new(strip).arg("-o").arg(&out).arg(program).output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("`strip` failed: {}", message.trim())));
    }
    fs::read(&out)
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

    fn this_program() -> LinkedProgram {
        std::env::current_exe().unwrap().display().to_string().into()
    }

    /// A program beside its library, which its loader finds with cargo's search path only.
    fn linked_with_own_library(folder: &Path) -> LinkedProgram {
        let run = |arguments: &str| {
            let mut compile = Command::new("cc");
            let status = compile.args(arguments.split(' ')).current_dir(folder).status();
            assert!(status.unwrap().success(), "cc {arguments}");
        };
        fs::write(folder.join("nine.c"), "int nine(void) { return 9; }").unwrap();
        fs::write(folder.join("main.c"), "int nine(void); int main(void) { return nine(); }")
            .unwrap();
        fs::create_dir(folder.join("out")).unwrap();
        run("-shared -fPIC -o out/libnine.so nine.c");
        run("-o tool main.c -Lout -lnine");
        let library_path = vec![folder.join("out").display().to_string()];
        LinkedProgram { path: folder.join("tool").display().to_string(), library_path }
    }

    #[test]
    fn libraries_of_the_build_are_in_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let program = linked_with_own_library(folder.path());
        let whole = pack(&program, System::Whole).unwrap();
        assert!(names(&whole.tar).iter().any(|name| name.ends_with("/libnine.so")));
        assert_eq!(whole.library_folder, None);
        let based = pack(&program, System::OfBase).unwrap();
        assert_eq!(names(&based.tar), ["app/lib/libnine.so", "data", "app/tool"]);
        assert_eq!(based.library_folder, Some("/app/lib"));
        let error = pack(&program.path.into(), System::Whole).unwrap_err().to_string();
        assert!(error.contains("libnine.so"), "{error}");
    }

    #[test]
    fn image_contains_program_and_loader_but_no_shell() {
        let program = this_program();
        let root = pack(&program, System::Whole).unwrap();
        let names = names(&root.tar);
        let has = |path: &str| names.iter().any(|name| *name == path.trim_start_matches('/'));
        assert!(has(&root.program), "{names:?}");
        assert!(has("/etc/passwd") && has("/tmp"), "{names:?}");
        assert!(root.loader.is_none_or(|loader| has(&loader.to_string_lossy())), "{names:?}");
        assert!(!names.iter().any(|name| name.ends_with("/sh")), "{names:?}");
    }

    #[test]
    fn packing_is_reproducible() {
        let program = this_program();
        let pack = || pack(&program, System::Whole).unwrap().tar;
        assert!(pack() == pack());
    }

    #[test]
    fn base_image_gets_only_program_and_data_folder() {
        let program = this_program();
        let root = pack(&program, System::OfBase).unwrap();
        assert_eq!(names(&root.tar), ["data", root.program.trim_start_matches('/')]);
    }
}
