//! Keeps the programs that cargo linked in the folder of the stack, so that a restart during a
//! failing rebuild starts the program that was accepted.
//!
//! A program has its shared libraries of the build with it. The files are hard-linked, or copied
//! across file systems. Equal content gets an equal number: cargo also relinks programs that did
//! not change, and these need no restart.
//!
//! A program may look for files beside itself, as it finds them under `cargo run`. So a run starts
//! from cargo's path as long as the files there are the kept ones.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use xtask_core::sorted::{SortedMap, SortedSet};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use xtask_core::stack::{Artifact, LinkedProgram};
use xtask_core::terms::Name;

use crate::effects::libraries;

/// How many programs of a service are kept, even if no run uses them.
const KEEP: usize = 2;

/// The folder beside a kept program with its libraries.
const LIBRARIES: &str = "lib";

#[derive(Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
    services: SortedMap<Name, Vec<Kept>>,
    last_content: u64,
}

#[derive(Debug)]
struct Kept {
    /// The program, then its libraries by name.
    files: Vec<KeptFile>,
    content: u64,
}

#[derive(Debug)]
struct KeptFile {
    path: PathBuf,
    /// Cargo's file when it last had this content.
    source: Source,
}

/// A file of cargo, without symbolic links: a hard link to one would be a symbolic link.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    metadata: Metadata,
}

/// How the kept program at `kept` starts now: as cargo's, or with its own libraries first.
pub(crate) fn start_of(kept: &str, linked: &LinkedProgram) -> LinkedProgram {
    let is_kept = |kept: &Path, other: &Path| {
        let (kept, other) = (fs::metadata(kept), fs::metadata(other));
        kept.and_then(|kept| Ok(is_same_file(&kept, &other?))).is_ok_and(|same| same)
    };
    let own = Path::new(kept).with_file_name(LIBRARIES);
    let libraries = fs::read_dir(&own).into_iter().flatten().flatten();
    let libraries = libraries.map(|library| library.path()).collect::<Vec<_>>();
    let is_found = |library: &PathBuf| {
        let name = library.file_name().unwrap_or_default();
        let mut places = linked.library_path.iter().map(|folder| Path::new(folder).join(name));
        places.find(|place| place.is_file()).is_some_and(|place| is_kept(library, &place))
    };
    if is_kept(Path::new(kept), Path::new(&linked.path)) && libraries.iter().all(is_found) {
        return linked.clone();
    }
    let mut library_path = linked.library_path.clone();
    if !libraries.is_empty() {
        library_path.insert(0, own.to_string_lossy().into_owned());
    }
    LinkedProgram { path: kept.to_owned(), library_path }
}

/// Whether two files are links to one, or one is an unchanged copy of the other.
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    let identity = |file: &Metadata| (file.size(), file.mtime(), file.mtime_nsec());
    identity(one) == identity(other)
}

/// Creates a folder, if it is missing, in which only this user can replace a program, whatever the
/// umask is. The account of a service may pass.
fn create_closed(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => {
            created?;
            fs::set_permissions(folder, Permissions::from_mode(0o711))
        }
    }
}

impl Programs {
    /// Keeps programs in `folder`, and removes those of an earlier supervisor.
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => create_closed(&folder)?,
        }
        Ok(Self { folder, services: SortedMap::new(), last_content: 0 })
    }

    /// Where the programs are kept.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps cargo's program for a service. Programs in `in_use` are not removed.
    pub(crate) fn accept(
        &mut self,
        service: &Name,
        program: LinkedProgram,
        in_use: &SortedSet<PathBuf>,
    ) -> io::Result<Artifact> {
        let path = PathBuf::from(&program.path);
        let mut sources = vec![Source::of(&path)?];
        let libraries = libraries::of_build(&program);
        for library in libraries.values() {
            sources.push(Source::of(library)?);
        }
        let kept = self.services.entry(service.clone()).or_default();
        for at in (0..kept.len()).rev() {
            if kept[at].has_content_of(&sources)? {
                let mut same = kept.remove(at);
                same.refresh(sources);
                let artifact = same.artifact(program);
                kept.push(same);
                return Ok(artifact);
            }
        }

        self.last_content += 1;
        // The files keep their names, which `--help`, `ps` and the loader use.
        let folder = self.folder.join(service.as_str()).join(self.last_content.to_string());
        let program_name = path.file_name().unwrap_or_default();
        let names = libraries.keys().map(|name| Path::new(LIBRARIES).join(name));
        let paths = std::iter::once(PathBuf::from(program_name)).chain(names);
        let mut files = Vec::new();
        for (path, source) in paths.map(|path| folder.join(path)).zip(sources) {
            let below = path.parent().and_then(|parent| parent.strip_prefix(&self.folder).ok());
            let mut parent = self.folder.clone();
            for part in below.into_iter().flatten() {
                parent.push(part);
                create_closed(&parent)?;
            }
            source.keep(&path)?;
            files.push(KeptFile { path, source });
        }
        let new = Kept { files, content: self.last_content };
        let artifact = new.artifact(program);
        kept.push(new);
        remove_old(kept, in_use);
        Ok(artifact)
    }
}

impl Kept {
    fn program(&self) -> &Path {
        &self.files[0].path
    }

    fn artifact(&self, linked: LinkedProgram) -> Artifact {
        let path = self.program().to_string_lossy().into_owned();
        Artifact { path, linked, content: self.content, image: None }
    }

    /// Whether it has these files with this content.
    fn has_content_of(&self, sources: &[Source]) -> io::Result<bool> {
        if self.files.len() != sources.len() {
            return Ok(false);
        }
        for (file, source) in self.files.iter().zip(sources) {
            let is_same = file.path.exists()
                && file.source.path.file_name() == source.path.file_name()
                && (file.source.is_unchanged(source)
                    || have_same_content(&file.path, &source.path)?);
            if !is_same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Replaces files by new ones with the same content: these are beside cargo's other files.
    fn refresh(&mut self, sources: Vec<Source>) {
        for (file, source) in self.files.iter_mut().zip(sources) {
            if !is_same_file(&file.source.metadata, &source.metadata) {
                let new = file.path.with_extension("new");
                let _ = source.keep(&new).and_then(|()| fs::rename(&new, &file.path));
            }
            file.source = source;
        }
    }
}

impl Source {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: fs::canonicalize(path)?, metadata: fs::metadata(path)? })
    }

    fn is_unchanged(&self, now: &Self) -> bool {
        let number = |file: &Metadata| (file.dev(), file.ino());
        number(&self.metadata) == number(&now.metadata)
            && is_same_file(&self.metadata, &now.metadata)
    }

    /// Links or copies the file to `path`.
    fn keep(&self, path: &Path) -> io::Result<()> {
        let _ = fs::remove_file(path);
        // A file on another file system, or of another owner, cannot be linked.
        if fs::hard_link(&self.path, path).is_err() {
            fs::copy(&self.path, path)?;
            let (tv_sec, tv_nsec) = (self.metadata.mtime(), self.metadata.mtime_nsec());
            let modified = Timespec { tv_sec, tv_nsec };
            let times = Timestamps { last_access: modified, last_modification: modified };
            utimensat(CWD, path, &times, AtFlags::empty())?;
        }
        Ok(())
    }
}

/// Whether two files are the same file, or have the same content.
pub(crate) fn have_same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    let (of_one, of_other) = (one.metadata()?, other.metadata()?);
    if (of_one.dev(), of_one.ino()) == (of_other.dev(), of_other.ino()) {
        return Ok(true);
    }
    if of_one.size() != of_other.size() {
        return Ok(false);
    }
    let buffered = |file| BufReader::with_capacity(128 * 1024, file);
    let (mut one, mut other) = (buffered(one), buffered(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 || left[..length] != right[..length] {
            return Ok(left.len() == right.len() && length == 0);
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Removes the oldest programs beyond [`KEEP`] that no run uses.
fn remove_old(kept: &mut Vec<Kept>, in_use: &SortedSet<PathBuf>) {
    let surplus = kept.len().saturating_sub(KEEP);
    let mut at = 0;
    kept.retain(|program| {
        at += 1;
        let stays = at > surplus || in_use.contains(program.program());
        if !stays {
            let _ = program.program().parent().map(fs::remove_dir_all);
        }
        stays
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        programs: Programs,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::new(folder.path().join("programs")).unwrap();
        Fixture { folder, programs }
    }

    fn program(path: &Path) -> LinkedProgram {
        path.to_str().unwrap().to_owned().into()
    }

    impl Fixture {
        /// Links a new file in place of the old one, as cargo does.
        fn link(&self, content: &str) -> PathBuf {
            let path = self.folder.path().join("tool");
            let _ = fs::remove_file(&path);
            fs::write(&path, content).unwrap();
            path
        }

        fn accept(&mut self, path: &Path, in_use: &[&Artifact]) -> Artifact {
            let in_use = in_use.iter().map(|artifact| PathBuf::from(&artifact.path)).collect();
            self.programs.accept(&"a".into(), program(path), &in_use).unwrap()
        }
    }

    #[test]
    fn kept_program_survives_a_relink() {
        let mut fixture = fixture();
        let path = fixture.link("one");
        let one = fixture.accept(&path, &[]);
        fixture.link("two");
        assert_eq!(fs::read_to_string(&one.path).unwrap(), "one");
        assert!(one.path.ends_with("/tool"), "{}", one.path);
    }

    #[test]
    fn equal_content_has_an_equal_number() {
        let mut fixture = fixture();
        let path = fixture.link("one");
        let one = fixture.accept(&path, &[]);
        assert_eq!(fixture.accept(&path, &[]), one);
        fixture.link("one");
        assert_eq!(fixture.accept(&path, &[]), one);
        fixture.link("eno");
        let two = fixture.accept(&path, &[]);
        assert_ne!(two.content, one.content);
        fixture.link("one");
        assert_eq!(fixture.accept(&path, &[]), one);
    }

    #[test]
    fn run_starts_from_the_path_of_cargo_while_accepted() {
        let mut fixture = fixture();
        let path = fixture.link("one");
        let linked = program(&path);
        let one = fixture.accept(&path, &[]);
        let start = || start_of(&one.path, &linked);
        assert_eq!(start(), linked);
        fixture.link("another");
        assert_eq!(start().path, one.path, "another build");
        fs::remove_file(&path).unwrap();
        assert_eq!(start().path, one.path, "`cargo clean`");
        fixture.link("one");
        let again = fixture.accept(&path, &[]);
        assert_eq!(again, one);
        assert_eq!(start(), linked, "linked again");
    }

    #[test]
    fn copied_file_has_the_time_of_its_source() {
        let fixture = fixture();
        let metadata = fs::metadata(fixture.link("one")).unwrap();
        let copy = fixture.folder.path().join("copy");
        // It is on another file system.
        let source = Source { path: "/proc/self/stat".into(), metadata };
        source.keep(&copy).unwrap();
        let (copied, source) = (fs::metadata(&copy).unwrap(), source.metadata);
        assert_eq!((copied.mtime(), copied.mtime_nsec()), (source.mtime(), source.mtime_nsec()));
    }

    #[test]
    fn unused_old_programs_are_removed() {
        let mut fixture = fixture();
        let mut all = Vec::new();
        for content in ["a", "b", "c", "d"] {
            let path = fixture.link(content);
            let in_use: Vec<Artifact> = all.first().cloned().into_iter().collect();
            all.push(fixture.accept(&path, &in_use.iter().collect::<Vec<_>>()));
        }
        let there: Vec<bool> = all.iter().map(|kept| Path::new(&kept.path).exists()).collect();
        assert_eq!(there, [true, false, true, true]);
    }

    #[test]
    fn accept_fails_for_a_missing_program() {
        let mut fixture = fixture();
        let missing = fixture.folder.path().join("missing");
        let accepted = fixture.programs.accept(&"a".into(), program(&missing), &SortedSet::new());
        let error = accepted.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
