//! Keeps the programs that cargo linked in the folder of the stack, so that a restart during a
//! failing rebuild starts the program that was accepted.
//!
//! A program is hard-linked, or copied across file systems. Equal content gets an equal number:
//! cargo also relinks programs that did not change, and these need no restart.
//!
//! A program may look for files beside itself, as it finds them under `cargo run`. So a run starts
//! from cargo's path as long as that file is the kept one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use xtask_core::stack::{Artifact, LinkedProgram};
use xtask_core::terms::Name;

/// How many programs of a service are kept, even if no run uses them.
const KEEP: usize = 2;

#[derive(Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
    services: BTreeMap<Name, Vec<Kept>>,
    last_content: u64,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    content: u64,
    /// Cargo's file when it last had this content.
    source: Metadata,
}

/// The path from which the kept program at `kept` starts.
pub(crate) fn start_path<'a>(kept: &'a str, linked: Option<&'a LinkedProgram>) -> &'a str {
    let is_kept = |path: &str| {
        let (kept, path) = (fs::metadata(kept), fs::metadata(path));
        kept.and_then(|kept| Ok(is_same_file(&kept, &path?))).is_ok_and(|same| same)
    };
    linked.map(|linked| &*linked.path).filter(|path| is_kept(path)).unwrap_or(kept)
}

/// Whether two files are links to one, or one is an unchanged copy of the other.
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    let identity = |file: &Metadata| (file.size(), file.mtime(), file.mtime_nsec());
    identity(one) == identity(other)
}

impl Programs {
    /// Keeps programs in `folder`, and removes those of an earlier supervisor.
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&folder)?,
        }
        Ok(Self { folder, services: BTreeMap::new(), last_content: 0 })
    }

    /// Keeps cargo's program for a service. Programs in `in_use` are not removed.
    pub(crate) fn accept(
        &mut self,
        service: &Name,
        program: LinkedProgram,
        in_use: &BTreeSet<PathBuf>,
    ) -> io::Result<Artifact> {
        let path = Path::new(&program.path);
        let source = fs::metadata(path)?;
        // A hard link to a symbolic link would be a symbolic link.
        let real = fs::canonicalize(path)?;
        let kept = self.services.entry(service.clone()).or_default();
        for (at, old) in kept.iter_mut().enumerate().rev() {
            if old.path.exists() && has_content_of(old, path, &source)? {
                if !is_same_file(&old.source, &source) {
                    // The new file with the old content is the one beside other files of cargo.
                    let new = old.path.with_extension("new");
                    let _ = keep(&real, &source, &new).and_then(|()| fs::rename(&new, &old.path));
                }
                old.source = source;
                let same = kept.remove(at);
                let artifact = artifact(&same, program);
                kept.push(same);
                return Ok(artifact);
            }
        }

        self.last_content += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The file keeps its name, which `--help` and `ps` show.
        let folder = self.folder.join(service.as_str()).join(self.last_content.to_string());
        fs::create_dir_all(&folder)?;
        let own = folder.join(&*name);
        keep(&real, &source, &own)?;
        let new = Kept { path: own, content: self.last_content, source };
        let artifact = artifact(&new, program);
        kept.push(new);
        remove_old(kept, in_use);
        Ok(artifact)
    }
}

fn artifact(kept: &Kept, linked: LinkedProgram) -> Artifact {
    let path = kept.path.to_string_lossy().into_owned();
    Artifact { path, linked, content: kept.content, image: None }
}

/// Links or copies a program.
fn keep(real: &Path, source: &Metadata, own: &Path) -> io::Result<()> {
    let _ = fs::remove_file(own);
    // A file on another file system, or of another owner, cannot be linked.
    if fs::hard_link(real, own).is_err() {
        fs::copy(real, own)?;
        let modified = Timespec { tv_sec: source.mtime(), tv_nsec: source.mtime_nsec() };
        let times = Timestamps { last_access: modified, last_modification: modified };
        utimensat(CWD, own, &times, AtFlags::empty())?;
    }
    Ok(())
}

fn has_content_of(old: &Kept, path: &Path, source: &Metadata) -> io::Result<bool> {
    let is_old = (old.source.dev(), old.source.ino()) == (source.dev(), source.ino())
        && is_same_file(&old.source, source);
    Ok(is_old || have_same_content(&old.path, path)?)
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
fn remove_old(kept: &mut Vec<Kept>, in_use: &BTreeSet<PathBuf>) {
    let surplus = kept.len().saturating_sub(KEEP);
    let mut at = 0;
    kept.retain(|program| {
        at += 1;
        let stays = at > surplus || in_use.contains(&program.path);
        if !stays {
            let _ = program.path.parent().map(fs::remove_dir_all);
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
        assert_eq!(start_path(&one.path, Some(&linked)), linked.path);
        assert_eq!(start_path(&one.path, None), one.path);
        fixture.link("another");
        assert_eq!(start_path(&one.path, Some(&linked)), one.path, "another build");
        fs::remove_file(&path).unwrap();
        assert_eq!(start_path(&one.path, Some(&linked)), one.path, "`cargo clean`");
        fixture.link("one");
        let again = fixture.accept(&path, &[]);
        assert_eq!(again, one);
        assert_eq!(start_path(&one.path, Some(&linked)), linked.path, "linked again");
    }

    #[test]
    fn copied_program_has_the_time_of_its_source() {
        let fixture = fixture();
        let source = fs::metadata(fixture.link("one")).unwrap();
        let copy = fixture.folder.path().join("copy");
        // It is on another file system.
        keep(Path::new("/proc/self/stat"), &source, &copy).unwrap();
        let copied = fs::metadata(&copy).unwrap();
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
        let accepted = fixture.programs.accept(&"a".into(), program(&missing), &BTreeSet::new());
        let error = accepted.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
