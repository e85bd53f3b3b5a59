//! Follows the log files of a stack. inotify wakes it, not a timer.
//!
//! One read returns at most [`TURN_BYTES`], so that a slow terminal holds no more in memory.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use xtask_control::StackPaths;
use xtask_logs::{Merge, More, Reader, Record, Start, Wanted};

use crate::system::async_fd::async_fd;
use crate::system::limits::raise_open_files;

/// The most that one read returns, in bytes.
const TURN_BYTES: usize = 256 * 1024;

/// How far logs are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Up to their present end.
    Present,
    /// Also what is written later.
    Future,
}

pub(crate) struct Follower {
    inotify: AsyncFd<OwnedFd>,
    paths: StackPaths,
    services: Vec<String>,
    logs: Merge,
    more: More,
}

impl Follower {
    /// Follows the logs of these services, or of all if none is named. `start` applies to logs
    /// that exist; a later log is read from its beginning.
    pub(crate) fn new(
        paths: &StackPaths,
        services: &[String],
        start: &Start<'_>,
        extent: Extent,
    ) -> io::Result<Self> {
        Self::over(Merge::default(), paths, services, start, extent)
    }

    /// As [`Follower::new`], with only the wanted lines.
    pub(crate) fn only(
        wanted: Wanted,
        paths: &StackPaths,
        services: &[String],
        start: &Start<'_>,
        extent: Extent,
    ) -> io::Result<Self> {
        Self::over(Merge::only(wanted), paths, services, start, extent)
    }

    fn over(
        mut logs: Merge,
        paths: &StackPaths,
        services: &[String],
        start: &Start<'_>,
        extent: Extent,
    ) -> io::Result<Self> {
        let folder = paths.logs();
        // Before the first `up` the folder is missing. `create` makes it private.
        paths.create()?;
        // Each log is an open file.
        raise_open_files();
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
        let inotify = async_fd(fd)?;
        for service in services_with_logs(paths)? {
            if services.is_empty() || services.contains(&service) {
                let reader = Reader::new(&paths.log(&service), start)?;
                let reader = match extent {
                    Extent::Present => reader.until_now()?,
                    Extent::Future => reader,
                };
                logs.add(&service, reader);
            }
        }
        let services = services.to_vec();
        Ok(Self { inotify, paths: paths.clone(), services, logs, more: More::Yes })
    }

    /// Waits for new lines and passes them to `take`, at most [`TURN_BYTES`]. Cancel safe.
    pub(crate) async fn next(&mut self, take: &mut dyn FnMut(&str, &Record<'_>)) -> io::Result<()> {
        if self.more == More::No {
            let mut ready = self.inotify.readable_mut().await?;
            let names = ready.try_io(|fd| changed(fd.get_ref()));
            drop(ready);
            if let Ok(names) = names {
                self.noticed(names?)?;
            }
        }
        self.more = self.logs.read(TURN_BYTES, take)?;
        Ok(())
    }

    /// Passes lines to `take` without waiting, at most [`TURN_BYTES`].
    pub(crate) fn rest(&mut self, take: &mut dyn FnMut(&str, &Record<'_>)) -> io::Result<More> {
        self.logs.all_grown();
        self.logs.read(TURN_BYTES, take)
    }

    fn noticed(&mut self, changed: Changed) -> io::Result<()> {
        let names = match changed {
            Changed::These(names) => {
                names.iter().filter_map(|name| service_of(name).map(str::to_owned)).collect()
            }
            // The kernel's queue overflowed.
            Changed::Any => services_with_logs(&self.paths)?,
        };
        for service in names {
            if !self.services.is_empty() && !self.services.contains(&service) {
                continue;
            }
            if !self.logs.contains(&service) {
                let reader = Reader::new(&self.paths.log(&service), &Start::Beginning)?;
                self.logs.add(&service, reader);
            }
            self.logs.grown(&service);
        }
        Ok(())
    }
}

/// The services of a stack that have a log, in order of name; none if the folder is missing.
pub(crate) fn services_with_logs(paths: &StackPaths) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(paths.logs()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(service_of(entry?.file_name().as_encoded_bytes()).map(str::to_owned));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The service whose log a file is. A rotated file has a number at its end.
fn service_of(file: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(file).ok()?;
    if let Some(service) = name.strip_suffix(".log") {
        return Some(service);
    }
    let (log, number) = name.rsplit_once('.')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    log.strip_suffix(".log").filter(|_| is_number)
}

enum Changed {
    These(Vec<Vec<u8>>),
    /// Unknown, because the kernel's queue overflowed.
    Any,
}

fn changed(fd: &OwnedFd) -> io::Result<Changed> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(fd, &mut buffer);
    let mut names: Vec<Vec<u8>> = Vec::new();
    loop {
        match events.next() {
            Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                return Ok(Changed::Any);
            }
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
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Changed::These(names)),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn append(path: &std::path::Path, text: &str) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    async fn next_texts(follower: &mut Follower, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let mut take = |service: &str, line: &Record<'_>| {
                texts.push(format!("{service}: {}", line.text_lossy()));
            };
            let next = follower.next(&mut take);
            tokio::time::timeout(std::time::Duration::from_secs(20), next).await.unwrap().unwrap();
        }
        texts
    }

    #[tokio::test]
    async fn follower_reads_across_partial_lines_and_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at(folder.path().join("shop/dev"));
        paths.create().unwrap();
        std::fs::create_dir_all(paths.logs()).unwrap();
        let log = paths.log("a");
        append(&log, "t 1 o old\n");
        let mut follower = Follower::new(&paths, &[], &Start::Now, Extent::Future).unwrap();
        append(&log, "t 1 o one\nt 1 o tw");
        assert_eq!(next_texts(&mut follower, 1).await, ["a: one"]);
        append(&log, "o\nt 1 o three\n");
        std::fs::rename(&log, paths.logs().join("a.log.1")).unwrap();
        append(&log, "t 1 o four\n");
        append(&paths.log("b"), "t 1 o new\n");
        let mut texts = next_texts(&mut follower, 4).await;
        texts.sort();
        assert_eq!(texts, ["a: four", "a: three", "a: two", "b: new"]);
    }

    #[tokio::test]
    async fn follower_skips_services_not_named() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at(folder.path().join("shop/dev"));
        let mut follower =
            Follower::new(&paths, &["b".to_string()], &Start::Now, Extent::Future).unwrap();
        append(&paths.log("a"), "t 1 o no\n");
        append(&paths.log("b"), "t 1 o yes\n");
        assert_eq!(next_texts(&mut follower, 1).await, ["b: yes"]);
    }
}
