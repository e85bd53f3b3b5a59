//! The stacks of all workspaces in this user's folder of state, for `status --all` and
//! `down --all`.
//!
//! Stacks of another `XTASK_STATE_DIR` are separate and stay so.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::LocalSet;
use xtask_control::StackPaths;
use xtask_control::paths::{DEFAULT_STACK, state_folder};
use xtask_control::protocol::Ask;

use super::down::{finish, without_socket};
use super::error::Error;
use super::exit::Exit;
use super::{Global, block_on, print, stack};
use crate::session::connect::{self, connect};
use crate::session::workspaces;
use crate::supervisor::leftovers::clean;
use crate::system::supervisors;
use crate::system::task::spawn_local;
use crate::view::stacks::{StackJson, text};

/// How long a supervisor has to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// A stack that has files or a supervisor.
struct Known {
    paths: StackPaths,
    workspace: Option<PathBuf>,
    supervisor: Option<u32>,
}

/// Prints the stacks of all workspaces.
pub(crate) fn status(global: &Global, json: bool) -> anyhow::Result<Exit> {
    refuse_name(global)?;
    let known = known()?;
    let stacks = block_on(async { Ok(LocalSet::new().run_until(ask(known)).await) })?;
    match json {
        true => print::json_pretty(&stacks)?,
        false if stacks.is_empty() => {}
        false => print::out(&text(&stacks, |root| root.is_dir()))?,
    }
    match stacks.iter().any(|stack| stack.supervisor_pid.is_some()) {
        true => Ok(Exit::DONE),
        false => Err(Error::NothingRunsAnywhere.into()),
    }
}

/// Asks the supervisors side by side, so that a silent one delays the others by nothing.
async fn ask(known: Vec<Known>) -> Vec<StackJson> {
    let asked = known.into_iter().map(|Known { paths, workspace, supervisor }| {
        spawn_local(async move {
            let status = async {
                supervisor?;
                let answer =
                    tokio::time::timeout(ANSWER, connect::status(&paths, Ask::No, || {})).await;
                answer.ok()?.ok()?
            };
            StackJson {
                stack: paths.stack(),
                status: status.await,
                workspace,
                supervisor_pid: supervisor,
                folder: paths.folder().to_path_buf(),
            }
        })
    });
    let mut stacks = Vec::new();
    for stack in asked.collect::<Vec<_>>() {
        stacks.extend(stack.await);
    }
    stacks
}

/// Shuts down the stacks of all workspaces side by side, and waits for all.
pub(crate) fn down(global: &Global, now: bool) -> anyhow::Result<Exit> {
    refuse_name(global)?;
    let running: Vec<_> = known()?.into_iter().filter(|stack| stack.supervisor.is_some()).collect();
    if running.is_empty() {
        print::line("no stack of any workspace is running");
    }
    block_on(async {
        let (mut ending, mut exit) = (Vec::new(), Exit::DONE);
        for known in running {
            let (paths, supervisor) = (&known.paths, known.supervisor.unwrap_or_default());
            match tokio::time::timeout(ANSWER, connect(paths, || {})).await {
                Ok(Ok(Some(mut session))) => {
                    session.connection.shut_down(now).await?;
                    ending.push((known, session));
                }
                Ok(_) => drop(without_socket(paths, supervisor.cast_signed(), now).await?),
                Err(_) => {
                    stack::report_silence(paths);
                    exit = Exit::FAILED;
                }
            }
        }
        for (known, session) in ending {
            finish(session).await?;
            stack::report_down(&known.paths, known.workspace.as_deref());
        }
        Ok(exit)
    })
}

/// All stacks with files or a supervisor, sorted by workspace. Cleans up after killed supervisors.
fn known() -> anyhow::Result<Vec<Known>> {
    let state = state_folder()?;
    let mut running: Vec<_> =
        supervisors::all().filter(|process| process.folder.starts_with(&state)).collect();
    let mut known = Vec::new();
    for recorded in workspaces::all()? {
        for paths in recorded.stacks() {
            if let Some(leftovers) = clean(&paths)? {
                stack::report_leftovers(&paths, &leftovers);
            }
            let own = running.iter().position(|process| process.folder == paths.folder());
            let own = own.map(|index| running.swap_remove(index));
            let root = Some(recorded.workspace.root.clone()).filter(|root| root.is_absolute());
            known.push(Known {
                workspace: root.or_else(|| own.as_ref().map(|process| process.workspace.clone())),
                supervisor: own.map(|process| process.pid.unsigned_abs()),
                paths,
            });
        }
    }
    // The files of these were deleted.
    known.extend(running.into_iter().map(|process| Known {
        paths: StackPaths::at(process.folder),
        workspace: Some(process.workspace),
        supervisor: Some(process.pid.unsigned_abs()),
    }));
    Ok(known)
}

fn refuse_name(global: &Global) -> Result<(), Error> {
    match &*global.stack {
        DEFAULT_STACK => Ok(()),
        _ => Err(Error::AllStacksAndOne),
    }
}
