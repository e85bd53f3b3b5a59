//! The account that runs PostgreSQL. PostgreSQL refuses to run as root, so a caller that is root
//! uses another account.
//!
//! No account is created, and no program gets more rights than the caller has.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(target_os = "linux")]
use rustix::process::getppid;
use rustix::process::{Signal, geteuid};

/// The accounts to use instead of root: the one that packages create, or else the one without
/// files.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The account that runs the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// The caller's own.
    Own,
    /// Another one, because the caller is root.
    Other { uid: u32, gid: u32 },
}

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("failed to read `/etc/passwd` to find an account other than root")]
    Unreadable(#[source] io::Error),
    #[error(
        "PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody`\nhint: \
         run this as another user, or create one: `useradd --system postgres`"
    )]
    Missing,
}

/// Which process the program becomes, and so when the kernel ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It replaces this process with `exec` and keeps its parent-death signal.
    Exec,
    /// It is a child and gets this signal when the thread that started it ends.
    Child(Signal),
}

impl Account {
    /// The caller's own account, or another one when that is root.
    pub(crate) fn choose() -> Result<Self, AccountError> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        let accounts = fs::read_to_string("/etc/passwd").map_err(AccountError::Unreadable)?;
        let found = UNPRIVILEGED.iter().find_map(|name| find(&accounts, name));
        found.ok_or(AccountError::Missing)
    }

    /// Creates a folder that only this account can enter.
    pub(crate) fn create_folder(self, folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(folder)?;
        self.give(folder)
    }

    /// Makes this account the owner of a file.
    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// A command that runs `program` as this account, in `/`, which every account can enter, and
    /// without the variables that configure PostgreSQL.
    pub(crate) fn command(self, program: PathBuf, role: Role) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        set_death_signal(&mut command, role);
        command
    }
}

/// Sets the parent-death signal. The kernel clears it when the account changes.
#[cfg(target_os = "linux")]
fn set_death_signal(command: &mut Command, role: Role) {
    use rustix::process::{getpid, parent_process_death_signal, set_parent_process_death_signal};

    // Read here, because the kernel clears it in the new process.
    let (signal, parent) = match role {
        Role::Exec => (parent_process_death_signal().ok().flatten(), getppid()),
        Role::Child(signal) => (Some(signal), Some(getpid())),
    };
    let set = move || {
        set_parent_process_death_signal(signal)?;
        // The parent may have ended before the signal was set; then no signal would arrive.
        if signal.is_some() && getppid() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: the closure makes only system calls, which are allowed between fork and exec.
    unsafe { command.pre_exec(set) };
}

#[cfg(not(target_os = "linux"))]
fn set_death_signal(_: &mut Command, _: Role) {}

/// The account `name` in the text of `/etc/passwd`.
fn find(accounts: &str, name: &str) -> Option<Account> {
    accounts.lines().find_map(|line| {
        let mut fields = line.strip_prefix(name)?.strip_prefix(':')?.split(':').skip(1);
        let mut number = || fields.next()?.parse().ok();
        Some(Account::Other { uid: number()?, gid: number()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_is_found_by_its_full_name() {
        let accounts =
            "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:8::/:\npostgres:x:101:104:,:/:\n";
        assert_eq!(find(accounts, "postgres"), Some(Account::Other { uid: 101, gid: 104 }));
        assert_eq!(find(accounts, "nobody"), None);
    }
}
