//! Why a program could not be kept or started, or a process not be adopted.

use std::io;
use std::path::{Path, PathBuf};

use xtask_core::terms::Name;

use crate::effects::containers::ContainerError;
use crate::effects::spawn::{SpawnFailure, SpawnStep};
use crate::system::account::AccountError;
use crate::system::argument_size::SizeFault;
use crate::system::executable::{Fault, inspect};
use crate::system::way_out::{behind, way_out, way_out_of_state};

/// The way out of a state folder that an account cannot reach, such as one in root's home.
const MOVE_STATE: &str = "; set `XTASK_STATE_DIR` to a folder such as `/var/lib/xtask`";

/// The failure of an effect. [`crate::effects::RunEvents`] renders it into an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to find program `{name}`: {fault}")]
    FindProgram { name: String, fault: Fault },
    /// The system refuses the program, and the cause is known.
    #[error("failed to execute `{program}`: {fault}")]
    Unusable { program: String, fault: Fault },
    #[error("failed to execute `{program}`: {size}")]
    TooLong { program: String, size: SizeFault },
    #[error("failed to {} `{subject}`: {error}{}", match step {
        SpawnStep::Fork => "create a process for",
        SpawnStep::CreateGroup => "create a process group for",
        SpawnStep::PassDescriptors => "pass sockets to",
        SpawnStep::EnterFolder => "enter the working folder",
        SpawnStep::BecomeAccount => "become the account of",
        SpawnStep::Execute => "execute",
    }, behind(way_out_of_spawn(*step, error)))]
    Spawn { step: SpawnStep, subject: String, error: io::Error },
    #[error("failed to start `{subject}`: {error}{}", behind(way_out(error)))]
    Start { subject: String, error: io::Error },
    #[error("failed to pass `{0}` to a program: it contains a NUL byte")]
    ContainsNul(String),
    #[error("failed to pass sockets to `{0}`: they are not bound")]
    Unbound(Name),
    #[error("failed to run `{program}` as another account: {error}")]
    Account { program: String, error: AccountError },
    /// The account cannot reach a file that the run needs.
    #[error(
        "account `{account}` cannot enter `{}`, which is on the way to `{}`{}",
        folder.display(), file.display(), if *is_data { MOVE_STATE } else { "" }
    )]
    Barrier { account: String, folder: PathBuf, file: PathBuf, is_data: bool },
    #[error(
        "failed to prepare the data folder `{}`: {error}{}", folder.display(), behind(way_out_of_state(error))
    )]
    DataFolder { folder: PathBuf, error: io::Error },
    #[error("failed to adopt process {0}: it has ended")]
    AdoptEnded(u32),
    /// `folder` is in the folder of all state.
    #[error(
        "failed to keep the program `{}` in `{}`: {error}{}",
        path.display(), folder.display(), behind(way_out_of_state(error))
    )]
    KeepProgram { path: PathBuf, folder: PathBuf, error: io::Error },
    /// A blocking task did not finish.
    #[error("failed to run a task: {0}")]
    Task(tokio::task::JoinError),
    #[error("{}", .0.text())]
    Container(#[from] ContainerError),
}

impl Error {
    /// Why `program` was not executed in the folder `cwd`.
    pub(crate) fn of_spawn(failure: SpawnFailure, program: &str, cwd: &str) -> Self {
        let SpawnFailure { step, error } = failure;
        if step == SpawnStep::EnterFolder {
            return Self::Spawn { step, subject: cwd.to_owned(), error };
        }
        let program = program.to_owned();
        let refused = step == SpawnStep::Execute;
        match refused.then(|| inspect(&Path::new(cwd).join(&program))).flatten() {
            Some(fault) => Self::Unusable { program, fault },
            None => Self::Spawn { step, subject: program, error },
        }
    }
}

/// What helps if a step between fork and exec failed.
fn way_out_of_spawn(step: SpawnStep, error: &io::Error) -> Option<String> {
    let text = match (step, error.raw_os_error()) {
        (SpawnStep::EnterFolder, Some(libc::ENOENT)) => "create it, or correct `cwd`",
        (SpawnStep::EnterFolder, _) => "correct `cwd`, or the mode of the folder",
        (SpawnStep::Fork, Some(libc::EAGAIN)) => "`ulimit -u` shows the limit of processes",
        _ => return way_out(error),
    };
    Some(text.to_owned())
}
