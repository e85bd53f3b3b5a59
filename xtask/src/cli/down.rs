//! `down`: stops services, or everything, and waits until it is gone.
//!
//! That nothing runs is what was asked for: it is said, and the exit code is 0.

use std::io;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use xtask_client::StackPaths;
use xtask_client::connection::update;
use xtask_client::protocol::{Reply, Request};
use xtask_client::snapshot::{Phase, Snapshot};

use super::exit::Exit;
use super::{Global, asked, block_on, locate, print};
use crate::session::launch::{Session, connect, patiently};
use crate::supervisor::lock::Lock;
use crate::view::progress;
use crate::view::style::{BUSY, GOOD};

/// `down`
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// The services, and what depends on them [default: the whole stack]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Leave the dependents of SERVICE up
    #[arg(long, requires = "services")]
    only: bool,
    /// Delete the stack's data too
    #[arg(long, conflicts_with = "services")]
    data: bool,
    /// Kill instead of stopping in order
    #[arg(long, conflicts_with = "services")]
    now: bool,
}

pub(crate) fn run(global: &Global, args: &DownArgs) -> anyhow::Result<Exit> {
    let paths = locate::stack_paths(global)?;
    block_on(async {
        // Nobody else starts the stack until its data is deleted.
        let _turn = match args.data && paths.data().exists() {
            true => Some(lock(&paths.launch_lock()).await?),
            false => None,
        };
        let exit = match connect(&paths, || locate::tell_silence(&paths)).await? {
            None => {
                print::tell(&format!("nothing is running as stack `{}`", paths.stack()));
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

async fn lock(path: &Path) -> anyhow::Result<Lock> {
    Lock::turn(path).await.with_context(|| format!("cannot lock `{}`", path.display()))
}

async fn whole(mut session: Session, now: bool) -> anyhow::Result<Exit> {
    session.connection.send(Request::Shutdown { now }).await?;
    watch_end(&mut session).await?;
    locate::say_down(&session.paths);
    Ok(Exit::DONE)
}

/// Says what stops until the supervisor is gone.
pub(crate) async fn watch_end(session: &mut Session) -> anyhow::Result<()> {
    while let Some(answer) = session.connection.next().await? {
        take(&mut session.snapshot, answer.reply);
    }
    let guardian = session.snapshot.guardian_pid.unwrap_or(session.snapshot.supervisor_pid);
    let text = format!(
        "for process {guardian}, which cleans up behind stack `{}`",
        session.snapshot.stack
    );
    patiently(session.supervisor.gone(), || print::say(BUSY, "Waiting", &text)).await;
    Ok(())
}

async fn some(mut session: Session, args: &DownArgs) -> anyhow::Result<Exit> {
    let names = match asked::named(&session.snapshot, &args.services) {
        Ok(names) => names,
        Err(exit) => return Ok(exit),
    };
    let request = Request::TakeDown { services: names.clone(), only: args.only };
    let id = session.connection.send(request).await?;
    let mut taken = false;
    loop {
        let gone = |service: &xtask_client::snapshot::ServiceSnapshot| {
            !service.wanted && service.pid.is_none() && service.phase != Phase::Stopping
        };
        if taken && names.iter().filter_map(|name| session.snapshot.service(name)).all(gone) {
            return Ok(Exit::DONE);
        }
        match session.connection.next().await? {
            None => return Ok(Exit::DONE),
            Some(answer) if answer.id == id => taken = true,
            Some(answer) => take(&mut session.snapshot, answer.reply),
        }
    }
}

fn take(snapshot: &mut Snapshot, reply: Reply) {
    if let Reply::Changed { services, .. } = &reply {
        for service in services {
            if matches!(service.phase, Phase::Stopped | Phase::Failed)
                && let Some((color, verb, text)) =
                    progress::step(snapshot.service(&service.name), service)
            {
                print::say(color, verb, &text);
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
            print::tell(&format!("there is no data of stack `{}`", paths.stack()));
            return Ok(());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", data.display()));
        }
    };
    // What a supervisor that was killed has left may still write there.
    let _gone = lock(&paths.lock()).await?;
    let text = format!("`{}` ({} files, {} bytes)", data.display(), size.0, size.1);
    print::say(GOOD, "Deleting", &text);
    std::fs::remove_dir_all(&data).with_context(|| format!("cannot delete `{}`", data.display()))
}

/// Files, and bytes in them.
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
