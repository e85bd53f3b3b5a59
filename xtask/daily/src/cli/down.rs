//! `down`: stops services or the whole stack, and waits until their processes have exited.
//!
//! It succeeds if nothing is running.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap_builder::{ArgMatches, Command};
use xtask_control::Error::{Gone, Unexpected, Unreachable};
use xtask_control::StackPaths;
use xtask_control::connection::update;
use xtask_control::protocol::{Reply, Request};
use xtask_core::snapshot::{Phase, Snapshot};

use super::arguments::{self, Arguments, flag, words};
use super::error::{Failure, other_stack};
use super::exit::Exit;
use super::{Global, all, block_on, place, print, running, stack};
use crate::session::Error::Connection;
use crate::session::connect::{Session, connect, lock, notify_if_slow, stop_by_signal};
use crate::session::find::{Found, FoundState};
use crate::view::progress;
use crate::view::style::{BUSY, GOOD, WARN};
use crate::view::words::{command_for, quoted};

pub(crate) struct DownArgs {
    services: Vec<String>,
    only: bool,
    data: bool,
    yes: bool,
    now: bool,
    all: bool,
}

impl Arguments for DownArgs {
    fn add(command: Command) -> Command {
        command.args([
            words(
                "services",
                "SERVICE",
                "Stop these services and their dependents [default: the whole stack]",
            ),
            flag("only", "Keep the dependents of SERVICE running").requires("services"),
            flag("data", "Delete the stack's data afterwards. On a terminal it asks first")
                .conflicts_with("services"),
            flag("yes", "Delete the data without asking").short('y').requires("data"),
            flag("now", "Kill all processes at once instead of stopping them in order")
                .conflicts_with("services"),
            flag("all", "Stop the stacks of all workspaces")
                .conflicts_with_all(["services", "data"]),
        ])
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            services: arguments::all(matches, "services"),
            only: matches.get_flag("only"),
            data: matches.get_flag("data"),
            yes: matches.get_flag("yes"),
            now: matches.get_flag("now"),
            all: matches.get_flag("all"),
        }
    }
}

pub(crate) fn run(global: &Global, args: &DownArgs) -> anyhow::Result<Exit> {
    if args.all {
        return all::down(global, args.now);
    }
    let Found { paths, state, .. } = place::find_stack(global)?;
    if args.data && !args.yes && print::can_ask() && !is_confirmed(&paths, state)? {
        print::line("nothing was stopped or deleted");
        return Ok(Exit::FAILED);
    }
    block_on(async {
        // No other command starts the stack until its data is deleted.
        // A supervisor without a lock may be starting, which ends with this turn.
        let is_unlocked = matches!(state, FoundState::Unlocked(_)) && paths.folder().exists();
        let _turn = match is_unlocked || args.data && paths.data().exists() {
            true => Some(lock(&paths.launch_lock()).await?),
            false => None,
        };
        let is_whole = args.services.is_empty();
        let exit = match (connect(&paths, || stack::report_silence(&paths)).await, state) {
            (Ok(Some(session)), _) => {
                stack::report_deleted(&paths);
                match is_whole {
                    true => whole(session, args.now).await?,
                    false => some(session, args).await?,
                }
            }
            (Ok(None), FoundState::Unlocked(pid)) if is_whole && !paths.is_locked() => {
                without_socket(&paths, pid, args.now).await?
            }
            (Ok(None), _) => {
                stack::clean_up(&paths)?;
                nothing_runs(&paths)
            }
            (Err(Connection(Unreachable { pid, .. })), _) if is_whole => {
                without_socket(&paths, pid.cast_signed(), args.now).await?
            }
            // Another version of the tool may answer in a way that this one does not understand.
            (Err(Connection(Unexpected(_))), _) if is_whole => {
                let pid = paths.read_endpoint().map_or(0, |endpoint| endpoint.pid);
                by_signal(&paths, pid.cast_signed(), args.now, "which has another version").await?
            }
            (Err(error), _) => return Err(error.into()),
        };
        match exit {
            Exit::DONE if args.data => delete_data(&paths).await?,
            Exit::DONE if is_whole => next_step(&paths),
            _ => {}
        }
        Ok(exit)
    })
}

/// Asks whether the data may be deleted. There is nothing to ask if there is none.
fn is_confirmed(paths: &StackPaths, state: FoundState) -> anyhow::Result<bool> {
    let data = paths.data();
    let contents = match Contents::of(&data) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read `{}`", data.display()));
        }
    };
    let stop = match state {
        FoundState::Down => String::new(),
        FoundState::Locked | FoundState::Unlocked(_) => {
            format!("stop stack `{}` and ", paths.stack())
        }
    };
    let (_, text) = contents.text(&data);
    let verb = if contents.target.is_some() { "remove" } else { "delete" };
    print::ask(&format!("{stop}{verb} {text}?"))
}

fn nothing_runs(paths: &StackPaths) -> Exit {
    print::line(&format!("nothing is running as stack `{}`", paths.stack()));
    if let Some(meant) = other_stack(&paths.stack(), &stack::known(paths)) {
        print::hint(&meant);
    }
    Exit::DONE
}

/// Shuts down a stack whose control socket was deleted.
pub(crate) async fn without_socket(
    paths: &StackPaths,
    supervisor: i32,
    now: bool,
) -> anyhow::Result<Exit> {
    by_signal(paths, supervisor, now, "whose socket was deleted").await
}

/// Shuts down a stack whose supervisor cannot be asked, for this reason.
async fn by_signal(
    paths: &StackPaths,
    supervisor: i32,
    now: bool,
    reason: &str,
) -> anyhow::Result<Exit> {
    let text =
        format!("stack `{}` by a signal to supervisor {supervisor}, {reason}", paths.stack());
    print::progress(WARN, "Stopping", &text);
    if !stop_by_signal(paths, supervisor, now).await? {
        return Ok(nothing_runs(paths));
    }
    stack::report_down(paths, None);
    Ok(Exit::DONE)
}

/// Shuts the stack down.
async fn whole(mut session: Session, now: bool) -> anyhow::Result<Exit> {
    session.connection.shut_down(now).await?;
    let paths = session.paths.clone();
    finish(session).await?;
    stack::report_down(&paths, None);
    Ok(Exit::DONE)
}

/// Reports each service that stops, until supervisor and guardian have exited.
pub(crate) async fn finish(mut session: Session) -> anyhow::Result<()> {
    while let Some(answer) = session.connection.next().await? {
        apply(&mut session.snapshot, answer.reply);
    }
    let guardian = session.snapshot.guardian_pid.unwrap_or(session.snapshot.supervisor_pid);
    let text =
        format!("for process {guardian}, which cleans up after stack `{}`", session.snapshot.stack);
    notify_if_slow(session.supervisor.exited(), || print::progress(BUSY, "Waiting", &text)).await;
    Ok(())
}

async fn some(mut session: Session, args: &DownArgs) -> anyhow::Result<Exit> {
    let names = running::named(&session.snapshot, &args.services)?;
    let request = Request::TakeDown { services: names.clone(), only: args.only };
    let id = match session.connection.send(request).await {
        Ok(id) => id,
        // The whole stack has just ended.
        Err(Gone) => return Ok(Exit::DONE),
        Err(error) => return Err(error.into()),
    };
    let mut accepted = false;
    loop {
        let stopped = |service: &xtask_core::snapshot::ServiceSnapshot| {
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

/// Says what starts the stack again, and what became of its data.
fn next_step(paths: &StackPaths) {
    let stack = paths.stack();
    let up = command_for(&stack, "up");
    print::hint(&match place::has_data(paths) {
        true => format!(
            "{up} starts it again with its data, {} deletes the data",
            command_for(&stack, "down --data")
        ),
        false => format!("{up} starts it again"),
    });
}

async fn delete_data(paths: &StackPaths) -> anyhow::Result<()> {
    let data = paths.data();
    let contents = match Contents::of(&data) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            print::line(&format!("stack `{}` has no data", paths.stack()));
            return Ok(());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read `{}`", data.display()));
        }
    };
    let mounted = contents.target.is_none().then(|| mount_below(&data)).flatten();
    if let Some(mounted) = mounted {
        let text = format!("failed to delete `{}`: a file system is mounted", data.display());
        let failure = Failure::new(Exit::FAILED, format!("{text} at `{mounted}`"));
        return Err(failure.hint(format!("`umount {}`", quoted(&mounted))).into());
    }
    // A process that a killed supervisor left may still write there.
    let _held = lock(&paths.lock()).await?;
    let (verb, text) = contents.text(&data);
    print::progress(GOOD, verb, &text);
    // It removes links and never follows them.
    std::fs::remove_dir_all(&data).with_context(|| format!("failed to delete `{}`", data.display()))
}

/// The first mount point in a folder, whose files are not those of the folder; none if the system
/// does not tell.
fn mount_below(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    first_below(&folder, &std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

fn first_below(folder: &Path, mounts: &str) -> Option<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    // The kernel writes these characters as octal numbers.
    let points = points.map(|point| {
        point
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\012", "\n")
            .replace("\\134", "\\")
    });
    { points }.find(|point| Path::new(point).starts_with(folder))
}

/// What `down --data` deletes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    /// The target, if the data folder itself is a link.
    target: Option<PathBuf>,
    files: u64,
    bytes: u64,
    /// Symbolic links, whose targets are kept.
    links: u64,
}

impl Contents {
    fn of(data: &Path) -> io::Result<Self> {
        if std::fs::symlink_metadata(data)?.is_symlink() {
            let target = Some(std::fs::read_link(data)?);
            return Ok(Self { target, ..Self::default() });
        }
        let mut contents = Self::default();
        contents.add(data)?;
        Ok(contents)
    }

    fn add(&mut self, folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                self.add(&entry.path())?;
            } else if found.is_symlink() {
                self.links += 1;
            } else {
                self.files += 1;
                self.bytes += found.len();
            }
        }
        Ok(())
    }

    fn text(&self, data: &Path) -> (&'static str, String) {
        let data = data.display();
        if let Some(target) = &self.target {
            let target = target.display();
            let text = format!("the link `{data}`; the files in `{target}` are kept");
            return ("Removing", text);
        }
        let kept = match self.links {
            0 => String::new(),
            1 => "; the target of 1 link is kept".to_string(),
            links => format!("; the targets of {links} links are kept"),
        };
        ("Deleting", format!("`{data}` ({} files, {} bytes){kept}", self.files, self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_point_in_the_data_is_found() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda rw\n\
                      40 22 8:1 /a /s/data2 rw - ext4 /dev/sda rw\n\
                      41 22 8:1 /a /s/data/my\\040set rw - ext4 /dev/sda rw\n";
        let first = |folder| first_below(Path::new(folder), mounts);
        assert_eq!(first("/s/data").as_deref(), Some("/s/data/my set"));
        assert_eq!(first("/s/dat"), None);
        assert_eq!(first("/s/data2").as_deref(), Some("/s/data2"));
    }

    #[test]
    fn deletion_names_links_and_keeps_their_targets() {
        let folder = tempfile::tempdir().unwrap();
        let (data, other) = (folder.path().join("data"), folder.path().join("other"));
        std::fs::create_dir_all(data.join("a")).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::fs::write(data.join("a/file"), "four").unwrap();
        std::fs::write(other.join("file"), "kept").unwrap();
        std::os::unix::fs::symlink(&other, data.join("link")).unwrap();
        let contents = Contents::of(&data).unwrap();
        assert_eq!(contents, Contents { target: None, files: 1, bytes: 4, links: 1 });
        let (_, text) = contents.text(&data);
        assert!(text.ends_with("(1 files, 4 bytes); the target of 1 link is kept"), "{text}");
        std::fs::remove_dir_all(&data).unwrap();

        std::os::unix::fs::symlink(&other, &data).unwrap();
        let (verb, text) = Contents::of(&data).unwrap().text(&data);
        assert_eq!(verb, "Removing");
        assert!(text.ends_with(&format!("the files in `{}` are kept", other.display())), "{text}");
        std::fs::remove_dir_all(&data).unwrap();
        assert!(!data.exists() && other.join("file").exists());
    }
}
