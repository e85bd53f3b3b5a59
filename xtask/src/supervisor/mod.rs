//! The process that owns a stack: its lock, its control socket, its world, its loop.
//!
//! It sets the scene for the driver and cleans up behind it. It knows neither plans
//! nor cargo: its clients bring both.

pub(crate) mod companion;
mod guardian;
pub(crate) mod leftovers;
pub(crate) mod lock;
mod request;
mod server;
pub(crate) mod sweeper;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::process::getppid;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use xtask_client::StackPaths;
use xtask_client::paths::Endpoint;

use crate::driver::outbox::Board;
use crate::driver::{Driver, Input, Record};
use crate::effects::{World, WorldSettings};
use crate::system::json_file::write_json;
use crate::system::pidfd::ExitWatch;
use crate::system::say;
use companion::{Companions, Scene, empty_standard_input};
use guardian::guard;
use leftovers::{Leftovers, clean_locked};
use lock::Lock;
use server::Server;
use sweeper::{nothing_is_left, start_another};

/// How long the last changes may take to reach clients once the stack has ended.
const FAREWELL: Duration = Duration::from_millis(300);

/// How many more sweepers are started, should one after the other be killed.
const SWEEPERS: usize = 5;

/// What a supervisor is told when it is started.
pub(crate) struct Settings {
    /// The stack's folder.
    pub folder: PathBuf,
    /// Shut down when this process is gone.
    pub until_pid: Option<u32>,
    /// Write every event and its effects there.
    pub record: Option<PathBuf>,
}

/// Runs a supervisor until its stack has ended.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    close_inherited();
    let paths = StackPaths::at(&settings.folder);
    paths.create().with_context(|| format!("cannot make `{}`", paths.folder().display()))?;
    let lock_path = paths.lock();
    let lock =
        Lock::wait(&lock_path).with_context(|| format!("cannot lock `{}`", lock_path.display()))?;
    if let Some(Leftovers { supervisor: Some(before), .. }) = clean_locked(&paths, &lock) {
        say(&format!("supervisor {before} went without cleaning up; that is done now"));
    }
    let runtime_folder = paths.create_runtime().context("no folder for sockets")?;
    let scene = Scene { paths: &paths, runtime: &runtime_folder };
    let mut companions = match guard(&scene) {
        Ok(companions) => Some(companions),
        Err(error) => {
            say(&format!("there is no guardian: {error}"));
            None
        }
    };
    // From here on this is another process: the guardian's child. A signal to the
    // guardian's group must not reach both.
    let _ = rustix::process::setsid();
    let held = companions.as_mut().and_then(|companions| companions.held.take());
    let guardian = companions.as_ref().map(|companions| companions.guardian.pid);
    let first = take_standard_input();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serving = serve(settings, &scene, &lock, companions, first);
    let outcome = LocalSet::new().block_on(&runtime, serving);
    // What another thread still does (an image is packed, a program copied) is of no use.
    runtime.shutdown_background();
    let _ = std::fs::remove_file(paths.endpoint());
    let _ = std::fs::remove_dir_all(&runtime_folder);
    // A guardian that is there says it itself, when it has seen that it is so.
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    if let (Ok(true), Some(held)) = (&outcome, &held)
        && parent != guardian
    {
        nothing_is_left(held);
    }
    outcome.map(drop)
}

/// Closes what the caller's shell had left open. A lock or the end of a pipe would be held
/// for as long as the stack lives.
fn close_inherited() {
    // SAFETY: this process has opened nothing yet, so nobody here uses what is closed.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Serves until the stack has ended; whether nothing of it is left.
async fn serve(
    settings: &Settings,
    scene: &Scene<'_>,
    lock: &Lock,
    companions: Option<Companions>,
    first: Option<BlockingStream>,
) -> anyhow::Result<bool> {
    let paths = scene.paths;
    let socket = scene.runtime.join("control");
    let listener =
        listen(&socket).with_context(|| format!("cannot listen on `{}`", socket.display()))?;
    let path = paths.endpoint();
    write_json(&path, &Endpoint { pid: std::process::id(), socket })
        .with_context(|| format!("cannot write `{}`", path.display()))?;

    let (event_sender, events) = unbounded_channel();
    let (input_sender, inputs) = unbounded_channel();
    let world = World::new(
        WorldSettings {
            state: paths.folder().to_path_buf(),
            runtime: scene.runtime.to_path_buf(),
            mark: paths.short_name(),
        },
        event_sender,
    )
    .context("cannot prepare the stack's folders")?;
    let record = match &settings.record {
        Some(path) => {
            let shown = path.display();
            Some(Record::create(path).with_context(|| format!("cannot write `{shown}`"))?)
        }
        None => None,
    };
    let board = Board::new(paths.stack());
    let mut server = Server::new(input_sender.clone(), &board);
    let guardian_pid = companions.as_ref().map(|companions| companions.guardian.pid);
    let mut driver = Driver::new(world, board, record, guardian_pid);
    watch_signals(&input_sender)?;
    if let Some(pid) = settings.until_pid {
        let watched = watch_process(pid, input_sender.clone());
        watched.with_context(|| format!("cannot watch process {pid}"))?;
    }
    if let Some(stream) = first {
        stream.set_nonblocking(true)?;
        server.serve(UnixStream::from_std(stream)?);
    }
    tokio::select! {
        () = driver.run(events, inputs) => {}
        () = server.accept(&listener) => {}
        ended = stay_guarded(scene, lock, companions, &input_sender) => ended?,
    }
    driver.close();
    let _ = tokio::time::timeout(FAREWELL, async {
        for writer in server.into_writers() {
            let _ = writer.await;
        }
    })
    .await;
    // A container engine may be waited for, and clients have heard everything by now.
    Ok(driver.end())
}

/// The connection that the launching client left in place of standard input, if it
/// is one. Standard input itself becomes empty.
fn take_standard_input() -> Option<BlockingStream> {
    let input = io::stdin();
    rustix::net::sockopt::socket_type(input.as_fd()).ok()?;
    let stream = BlockingStream::from(input.as_fd().try_clone_to_owned().ok()?);
    empty_standard_input().ok()?;
    Some(stream)
}

/// Reports a guardian that is gone, and puts another sweeper into the place of one that
/// is. Never ends well.
///
/// # Errors
/// When they cannot be watched from the beginning.
async fn stay_guarded(
    scene: &Scene<'_>,
    lock: &Lock,
    companions: Option<Companions>,
    inputs: &UnboundedSender<Input>,
) -> io::Result<()> {
    let Some(Companions { guardian, sweeper, held: _ }) = companions else {
        return std::future::pending().await;
    };
    let guardian = ExitWatch::of(guardian.pidfd)?;
    let mut guarded = true;
    let mut number = sweeper.as_ref().map(|sweeper| sweeper.pid);
    let mut sweeper = sweeper.map(|sweeper| ExitWatch::of(sweeper.pidfd)).transpose()?;
    let mut started = 0;
    loop {
        tokio::select! {
            () = guardian.exited(), if guarded => {
                guarded = false;
                let _ = inputs.send(Input::Unguarded { sweeper: number });
            }
            () = gone(sweeper.as_ref()) => {
                started += 1;
                (number, sweeper) = (None, None);
                if started <= SWEEPERS {
                    let another = start_another(scene, lock);
                    match another.and_then(|it| Ok((it.pid, ExitWatch::of(it.pidfd)?))) {
                        Ok((pid, watched)) => (number, sweeper) = (Some(pid), Some(watched)),
                        Err(error) => say(&format!("there is no sweeper: {error}")),
                    }
                }
            }
        }
    }
}

async fn gone(process: Option<&ExitWatch>) {
    match process {
        Some(process) => process.exited().await,
        None => std::future::pending().await,
    }
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Nobody else can enter the folder, so the mode is right before anyone connects.
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn watch_signals(inputs: &UnboundedSender<Input>) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let inputs = inputs.clone();
        spawn_local(async move {
            while signals.recv().await.is_some() {
                if inputs.send(Input::Leave).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Leaves in a hurry when a process is gone, also if it is gone by now.
fn watch_process(pid: u32, inputs: UnboundedSender<Input>) -> io::Result<()> {
    let watched = ExitWatch::new(pid)?;
    spawn_local(async move {
        watched.exited().await;
        let _ = inputs.send(Input::Abandoned);
    });
    Ok(())
}
