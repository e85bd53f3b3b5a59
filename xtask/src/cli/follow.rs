//! Log files of a stack, followed as they grow: woken by the system, never by a clock.
//!
//! It survives rotation: the old file is read to its end before the new one. It says
//! nothing of lines that were there before, unless told where to begin.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use xtask_client::StackPaths;
use xtask_client::logs::Line;

/// How much of one file is read before the next one has its turn.
const TURN_BYTES: usize = 256 * 1024;

/// The logs of a stack, some services of it or all.
pub(crate) struct Follower {
    inotify: AsyncFd<OwnedFd>,
    folder: PathBuf,
    services: Vec<String>,
    files: BTreeMap<String, Tail>,
    /// Services whose log may have more to read.
    pending: Vec<String>,
}

struct Tail {
    file: File,
    inode: u64,
    partial: Vec<u8>,
}

impl Follower {
    /// Follows the logs of these services, or of all if none is named, from their
    /// present end.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new(paths: &StackPaths, services: &[String]) -> io::Result<Self> {
        let folder = paths.logs();
        std::fs::create_dir_all(&folder)?;
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let fd = inotify::init(flags)?;
        inotify::add_watch(
            &fd,
            &folder,
            inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_TO
                | inotify::WatchFlags::ONLYDIR,
        )?;
        // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
        let inotify = unsafe { AsyncFd::register(fd) }?;
        let mut follower = Self {
            inotify,
            folder,
            services: services.to_vec(),
            files: BTreeMap::new(),
            pending: Vec::new(),
        };
        for entry in std::fs::read_dir(&follower.folder)? {
            if let Some(service) = follower.service_of(entry?.file_name().as_encoded_bytes()) {
                follower.open(&service, SeekFrom::End(0))?;
            }
        }
        Ok(follower)
    }

    /// Waits for new lines and hands over those that are there. Nothing is lost when
    /// the wait is given up.
    ///
    /// # Errors
    /// What the system, or whoever gets the lines, says.
    pub(crate) async fn next(
        &mut self,
        mut take: impl FnMut(&str, &Line<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.pending.is_empty() {
            let mut ready = self.inotify.readable_mut().await?;
            let names = ready.try_io(|fd| changed(fd.get_ref()));
            drop(ready);
            for name in names.unwrap_or(Ok(Vec::new()))? {
                if let Some(service) = self.service_of(&name)
                    && !self.pending.contains(&service)
                {
                    self.pending.push(service);
                }
            }
        }
        for service in std::mem::take(&mut self.pending) {
            if self.read(&service, &mut take)? {
                self.pending.push(service);
            }
        }
        Ok(())
    }

    /// Hands over what is there, without waiting.
    ///
    /// # Errors
    /// As for [`Follower::next`].
    pub(crate) fn rest(
        &mut self,
        mut take: impl FnMut(&str, &Line<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let services: Vec<String> = self.files.keys().cloned().collect();
        for service in services {
            while self.read(&service, &mut take)? {}
        }
        Ok(())
    }

    /// The service that a file of the folder is the log of, if it is followed.
    fn service_of(&self, file: &[u8]) -> Option<String> {
        let name = std::str::from_utf8(file).ok()?.strip_suffix(".log")?;
        let followed = self.services.is_empty() || self.services.iter().any(|s| s == name);
        followed.then(|| name.to_string())
    }

    fn open(&mut self, service: &str, from: SeekFrom) -> io::Result<()> {
        let mut file = match File::open(self.folder.join(format!("{service}.log"))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        file.seek(from)?;
        let inode = file.metadata()?.ino();
        self.files.insert(service.to_string(), Tail { file, inode, partial: Vec::new() });
        Ok(())
    }

    /// Reads one turn; true if there may be more.
    fn read(
        &mut self,
        service: &str,
        take: &mut impl FnMut(&str, &Line<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        if !self.files.contains_key(service) {
            self.open(service, SeekFrom::Start(0))?;
        }
        let Some(tail) = self.files.get_mut(service) else { return Ok(false) };
        let more = tail.read(|line| take(service, line))?;
        if more {
            return Ok(true);
        }
        // At the end of the file: is it still the one that is written to?
        let path = self.folder.join(format!("{service}.log"));
        let rotated = std::fs::metadata(path).is_ok_and(|found| found.ino() != tail.inode);
        if rotated {
            self.open(service, SeekFrom::Start(0))?;
        }
        Ok(rotated)
    }
}

impl Tail {
    fn read(
        &mut self,
        mut take: impl FnMut(&Line<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let before = self.partial.len();
        (&mut self.file).take(TURN_BYTES as u64).read_to_end(&mut self.partial)?;
        let read = self.partial.len() - before;
        let mut begin = 0;
        while let Some(length) = memchr::memchr(b'\n', &self.partial[begin..]) {
            let line = String::from_utf8_lossy(&self.partial[begin..begin + length]);
            begin += length + 1;
            if let Some(line) = Line::parse(&line) {
                take(&line)?;
            }
        }
        self.partial.drain(..begin);
        Ok(read == TURN_BYTES)
    }
}

/// The names of the files that changed.
fn changed(fd: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(fd, &mut buffer);
    let mut names: Vec<Vec<u8>> = Vec::new();
    loop {
        match events.next() {
            Ok(event) => {
                if let Some(name) = event.file_name().map(CStr::to_bytes)
                    && !names.iter().any(|known| known == name)
                {
                    names.push(name.to_vec());
                }
            }
            Err(rustix::io::Errno::WOULDBLOCK) if names.is_empty() => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(names),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn append(path: &std::path::Path, text: &str) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    async fn next_texts(follower: &mut Follower, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let next = follower.next(|service, line| {
                texts.push(format!("{service}: {}", line.text));
                Ok(())
            });
            tokio::time::timeout(std::time::Duration::from_secs(20), next).await.unwrap().unwrap();
        }
        texts
    }

    #[tokio::test]
    async fn new_lines_are_followed_through_half_lines_and_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at(folder.path());
        std::fs::create_dir(paths.logs()).unwrap();
        let log = paths.log("a");
        append(&log, "t 1 o old\n");
        let mut follower = Follower::new(&paths, &[]).unwrap();
        append(&log, "t 1 o one\nt 1 o tw");
        assert_eq!(next_texts(&mut follower, 1).await, ["a: one"]);
        append(&log, "o\nt 1 o three\n");
        std::fs::rename(&log, folder.path().join("logs/a.log.1")).unwrap();
        append(&log, "t 1 o four\n");
        append(&paths.log("b"), "t 1 o new\n");
        let mut texts = next_texts(&mut follower, 4).await;
        texts.sort();
        assert_eq!(texts, ["a: four", "a: three", "a: two", "b: new"]);
    }

    #[tokio::test]
    async fn other_services_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at(folder.path());
        let mut follower = Follower::new(&paths, &["b".to_string()]).unwrap();
        append(&paths.log("a"), "t 1 o no\n");
        append(&paths.log("b"), "t 1 o yes\n");
        assert_eq!(next_texts(&mut follower, 1).await, ["b: yes"]);
    }
}
