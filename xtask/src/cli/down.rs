//! `down`: stops services or the whole stack, and waits until their processes have exited.
//!
//! It succeeds if nothing is running.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use xtask_client::StackPaths;
use xtask_client::connection::update;
use xtask_client::protocol::{Reply, Request};
use xtask_client::snapshot::{Phase, Snapshot};

use super::exit::Exit;
use super::{Global, block_on, print, running, stack};
use crate::session::connect::{Session, connect, lock, notify_if_slow};
use crate::view::progress;
use crate::view::style::{BUSY, GOOD};

#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// Stop these services and their dependents [default: the whole stack]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Keep the dependents of SERVICE running
    #[arg(long, requires = "services")]
    only: bool,
    /// Delete the stack's data afterwards
    #[arg(long, conflicts_with = "services")]
    data: bool,
    /// Kill all processes at once instead of stopping them in order
    #[arg(long, conflicts_with = "services")]
    now: bool,
}

pub(crate) fn run(global: &Global, args: &DownArgs) -> anyhow::Result<Exit> {
    let paths = stack::stack_paths(global)?;
    block_on(async {
        // No other command starts the stack until its data is deleted.
        let _turn = match args.data && paths.data().exists() {
            true => Some(lock(&paths.launch_lock()).await?),
            false => None,
        };
        let exit = match connect(&paths, || stack::report_silence(&paths)).await? {
            None => {
                print::line(&format!("nothing is running as stack `{}`", paths.stack()));
                Exit::DONE
            }
            Some(session) if args.services.is_empty() => whole(session, args.now).await?,
            Some(session) => some(session, args).await?,
        };
        if args.data && exit == Exit::DONE {
            delete_data(&paths).await?;
        }
        Ok(exit)
    })
}

/// Shuts the stack down, and reports each service that stops until supervisor and guardian have
/// exited.
async fn whole(mut session: Session, now: bool) -> anyhow::Result<Exit> {
    session.connection.send(Request::Shutdown { now }).await?;
    while let Some(answer) = session.connection.next().await? {
        apply(&mut session.snapshot, answer.reply);
    }
    let guardian = session.snapshot.guardian_pid.unwrap_or(session.snapshot.supervisor_pid);
    let text =
        format!("for process {guardian}, which cleans up after stack `{}`", session.snapshot.stack);
    notify_if_slow(session.supervisor.exited(), || print::progress(BUSY, "Waiting", &text)).await;
    stack::report_down(&session.paths);
    Ok(Exit::DONE)
}

async fn some(mut session: Session, args: &DownArgs) -> anyhow::Result<Exit> {
    let names = running::named(&session.snapshot, &args.services)?;
    let request = Request::TakeDown { services: names.clone(), only: args.only };
    let id = session.connection.send(request).await?;
    let mut accepted = false;
    loop {
        let stopped = |service: &xtask_client::snapshot::ServiceSnapshot| {
            !service.wanted && service.pid.is_none() && service.phase != Phase::Stopping
        };
        if accepted && names.iter().filter_map(|name| session.snapshot.service(name)).all(stopped) {
            return Ok(Exit::DONE);
        }
        match session.connection.next().await? {
            None => return Ok(Exit::DONE),
            Some(answer) if answer.id == id => accepted = true,
            Some(answer) => apply(&mut session.snapshot, answer.reply),
        }
    }
}

/// Applies a message of the supervisor, and prints the services that it reports as stopped.
fn apply(snapshot: &mut Snapshot, reply: Reply) {
    if let Reply::Changed { services, .. } = &reply {
        for service in services {
            if matches!(service.phase, Phase::Stopped | Phase::Failed)
                && let Some((color, verb, text)) =
                    progress::step(snapshot.service(&service.name), service)
            {
                print::progress(color, verb, &text);
            }
        }
    }
    update(snapshot, reply);
}

async fn delete_data(paths: &StackPaths) -> anyhow::Result<()> {
    let data = paths.data();
    let size = match folder_size(&data) {
        Ok(size) => size,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            print::line(&format!("stack `{}` has no data", paths.stack()));
            return Ok(());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read `{}`", data.display()));
        }
    };
    // A process that a killed supervisor left may still write there.
    let _held = lock(&paths.lock()).await?;
    let text = format!("`{}` ({} files, {} bytes)", data.display(), size.0, size.1);
    print::progress(GOOD, "Deleting", &text);
    std::fs::remove_dir_all(&data).with_context(|| format!("failed to delete `{}`", data.display()))
}

/// The number of files and of their bytes.
fn folder_size(folder: &Path) -> io::Result<(u64, u64)> {
    let mut size = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            let (files, bytes) = folder_size(&entry.path())?;
            size = (size.0 + files, size.1 + bytes);
        } else {
            size = (size.0 + 1, size.1 + found.len());
        }
    }
    Ok(size)
}
