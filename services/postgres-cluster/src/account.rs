//! As whom PostgreSQL runs: it refuses to be root, so where we are, another account is taken.
//!
//! No account is made, and nothing is ever run with more rights than the caller has.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(target_os = "linux")]
use rustix::process::getppid;
use rustix::process::{Signal, geteuid};

/// The accounts that are taken in the place of root: the one that packages make, or else the
/// one that owns nothing.
const INSTEAD_OF_ROOT: [&str; 2] = ["postgres", "nobody"];

/// The account that runs the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The caller's own.
    Own,
    /// Another one, since the caller is root.
    Other {
        /// Its user's number.
        uid: u32,
        /// Its group's number.
        gid: u32,
    },
}

/// There is no account to run as.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The accounts cannot be read.
    #[error("reading `/etc/passwd`, to find an account other than root")]
    Unreadable(#[source] io::Error),
    /// There are none of the wanted names.
    #[error(
        "PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody`\nhint: \
         run this as another user, or make one: `useradd --system postgres`"
    )]
    Missing,
}

/// How long a program lives, whose account may not be the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It takes the place of this process, and ends with whatever this one would end with.
    InOurPlace,
    /// It is a child, and gets this signal when the thread that started it ends.
    Until(Signal),
}

impl Account {
    /// The caller's own account, or another one when that is root.
    ///
    /// # Errors
    /// When the caller is root and there is no other account.
    pub fn choose() -> Result<Self, AccountError> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        let accounts = fs::read_to_string("/etc/passwd").map_err(AccountError::Unreadable)?;
        let found = INSTEAD_OF_ROOT.iter().find_map(|name| find(&accounts, name));
        found.ok_or(AccountError::Missing)
    }

    /// Makes a folder that only this account may enter.
    ///
    /// # Errors
    /// What the system says.
    pub fn make_folder(self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        self.give(folder)
    }

    /// Makes this account the owner of a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// A command that runs `program` as this account, in a folder that everybody may enter, and
    /// without the variables that change what PostgreSQL does.
    pub(crate) fn command(self, program: PathBuf, life: Life) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG"))
        {
            command.env_remove(name);
        }
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        tie(&mut command, life);
        command
    }
}

/// Asks for a signal at the end of the parent; what was asked before is forgotten by the system
/// when the account changes.
#[cfg(target_os = "linux")]
fn tie(command: &mut Command, life: Life) {
    use rustix::process::{getpid, parent_process_death_signal, set_parent_process_death_signal};

    // Asked now: in the new process it is gone already.
    let (signal, parent) = match life {
        Life::InOurPlace => (parent_process_death_signal().ok().flatten(), getppid()),
        Life::Until(signal) => (Some(signal), Some(getpid())),
    };
    let tie = move || {
        set_parent_process_death_signal(signal)?;
        // It may have ended in between, and then nobody would send the signal any more.
        if signal.is_some() && getppid() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: system calls only, which may be made between fork and exec.
    unsafe { command.pre_exec(tie) };
}

#[cfg(not(target_os = "linux"))]
fn tie(_: &mut Command, _: Life) {}

/// The account of that name in the text of `/etc/passwd`.
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
    fn an_account_is_found_by_its_whole_name() {
        let accounts =
            "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:8::/:\npostgres:x:101:104:,:/:\n";
        assert_eq!(find(accounts, "postgres"), Some(Account::Other { uid: 101, gid: 104 }));
        assert_eq!(find(accounts, "nobody"), None);
    }
}
