//! The standard input of a run: empty, and it shows whether it was read.
//!
//! A program that runs until its input ends would exit at once, and its exit would explain
//! nothing. The kernel records the time of a read of a file, also at the file's end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::UNIX_EPOCH;

#[derive(Debug)]
pub(crate) struct EmptyInput {
    file: File,
    /// Whether the time of a read is recorded.
    is_recorded: bool,
}

impl EmptyInput {
    /// An input of its own, or the null device where the system has no files without a name.
    pub(crate) fn new() -> io::Result<Self> {
        match unread() {
            Ok(file) => Ok(Self { file, is_recorded: true }),
            Err(_) => Ok(Self { file: File::open("/dev/null")?, is_recorded: false }),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether a process has read it.
    pub(crate) fn was_read(&self) -> bool {
        let read = self.file.metadata().and_then(|found| found.accessed());
        self.is_recorded && read.is_ok_and(|at| at > UNIX_EPOCH)
    }
}

/// An empty file that stays empty and was last read at the epoch.
#[cfg(target_os = "linux")]
fn unread() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("empty-input", flags)?);
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    file.set_times(std::fs::FileTimes::new().set_accessed(UNIX_EPOCH))?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn unread() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_a_read_of_the_input_is_recorded() {
        for (command, read) in [("true", false), ("cat", true), ("read line", true)] {
            let input = EmptyInput::new().unwrap();
            let mut shell = Command::new("sh");
            shell.args(["-c", command]).stdin(Stdio::from(input.file.try_clone().unwrap()));
            shell.status().unwrap();
            assert_eq!(input.was_read(), read, "{command}");
        }
    }
}
