//! A close look at the process that holds a service's ports: which program it is, how
//! it was called, and what its environment says.
//!
//! It tells facts and decides nothing. The process is held by a descriptor that was
//! opened before the look, so that whatever is done to it later is done to the very
//! process that was looked at.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use xtask_core::stack::event::{InspectedHolder, InspectionResult, StartedBy};
use xtask_core::terms::Name;

use crate::effects::programs::same_bytes;
use crate::system::sweep::MARK;
use crate::system::{port_holder, sweep};

/// How often the look begins anew when the process ends under it.
const TRIES: usize = 5;

/// The processes that were found, by the service whose ports they hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct HolderHandles(Arc<Mutex<BTreeMap<Name, HolderHandle>>>);

/// A process that was looked at.
#[derive(Debug)]
pub(crate) struct HolderHandle {
    /// Its number.
    pub(crate) pid: u32,
    /// The process itself.
    pub(crate) pidfd: OwnedFd,
}

impl HolderHandles {
    /// Keeps whom the last look found.
    pub(crate) fn keep(&self, service: &Name, found: Option<HolderHandle>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(stranger) => drop(all.insert(service.clone(), stranger)),
            None => drop(all.remove(service)),
        }
    }

    /// The process of that number, if the last look found it and it still runs.
    pub(crate) fn take(&self, service: &Name, pid: u32) -> Option<HolderHandle> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stranger = all.remove(service)?;
        (stranger.pid == pid && !sweep::has_ended(&stranger.pidfd)).then_some(stranger)
    }
}

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// The service's addresses.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The program that would be started.
    pub(crate) program: Option<PathBuf>,
    /// The variables to tell of.
    pub(crate) variables: Vec<String>,
    /// The mark of this stack.
    pub(crate) mark: String,
}

impl Inspection {
    /// Looks. It may read two whole programs.
    pub(crate) fn look(&self) -> (InspectionResult, Option<HolderHandle>) {
        for _ in 0..TRIES {
            let sockets: Vec<Vec<u64>> =
                self.addresses.iter().map(|address| port_holder::sockets_at(*address)).collect();
            let Some(held) = sockets.iter().find(|sockets| !sockets.is_empty()) else {
                return (InspectionResult::Free, None);
            };
            let Some(pid) = port_holder::process_with(held) else { break };
            let Some(pidfd) = sweep::open(pid) else { continue };
            // Once more, as the number may have changed hands before the descriptor.
            if !port_holder::has_one_of(pid, held) {
                continue;
            }
            let found = self.describe(pid, &sockets);
            if !sweep::has_ended(&pidfd) {
                let stranger = HolderHandle { pid: found.holder.pid, pidfd };
                return (InspectionResult::Process(found), Some(stranger));
            }
        }
        (InspectionResult::Hidden, None)
    }

    fn describe(&self, pid: i32, sockets: &[Vec<u64>]) -> InspectedHolder {
        let elsewhere = (self.addresses.iter().zip(sockets))
            .filter(|(_, sockets)| !port_holder::has_one_of(pid, sockets))
            .map(|(address, _)| address.port())
            .collect();
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok();
        let value = |name: &str| {
            let mut entries = environment.as_deref()?.split(|&byte| byte == 0);
            entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let variables = self.variables.iter();
        let variables =
            variables.filter_map(|name| Some((name.clone(), text(value(name)?)))).collect();
        let holder = port_holder::describe(pid);
        // One whose state was deleted under it bears the name of this one.
        let is_anothers = (holder.stack.as_ref())
            .is_some_and(|stack| stack.supervisor != Some(std::process::id()));
        let started_by = match value(MARK) {
            None => StartedBy::Hand,
            Some(mark) if mark == self.mark.as_bytes() && !is_anothers => StartedBy::ThisStack,
            Some(_) => StartedBy::OtherStack,
        };
        InspectedHolder {
            holder,
            age: age(pid).unwrap_or_default(),
            same: self.program.as_deref().is_some_and(|program| runs(pid, program)),
            deleted: port_holder::executable(pid).is_some_and(|(_, deleted)| deleted),
            args: port_holder::arguments(pid).into_iter().skip(1).collect(),
            variables: environment.is_some().then_some(variables),
            elsewhere,
            started_by,
        }
    }
}

/// Whether a process executes this file, or one with the same content.
fn runs(pid: i32, program: &Path) -> bool {
    let executable = format!("/proc/{pid}/exe");
    let (Ok(own), Ok(wanted)) = (std::fs::metadata(&executable), std::fs::metadata(program)) else {
        return false;
    };
    if (own.dev(), own.ino()) == (wanted.dev(), wanted.ino()) {
        return true;
    }
    let same = || same_bytes(File::open(&executable)?, File::open(program)?);
    own.len() == wanted.len() && same().unwrap_or(false)
}

/// For how long a process has run.
fn age(pid: i32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    // SAFETY: the call takes a number and touches nothing.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    let since = Duration::from_millis(ticks * 1000 / per_second.max(1));
    let now = clock_gettime(ClockId::Boottime);
    Some(Duration::from_secs(u64::try_from(now.tv_sec).ok()?).saturating_sub(since))
}

/// Where a program is, as the one who would start it finds it.
pub(crate) fn find(name: &str, path: Option<&OsStr>, cwd: &str) -> Option<PathBuf> {
    let found = crate::effects::probe::find_program(name, path, cwd).ok()?;
    Some(Path::new(cwd).join(found))
}
