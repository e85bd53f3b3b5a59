//! The supervisor: the process that owns a stack, its lock, control socket and loop.
//!
//! It prepares everything for the driver and cleans up after it. It reads no manifest and
//! runs no cargo: clients send it plans and built programs.

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
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::Mode;
use rustix::process::getppid;
use socket2::SockRef;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use xtask_control::StackPaths;
use xtask_control::paths::Endpoint;

use crate::driver::outbox::Board;
use crate::driver::{Driver, Input, Record};
use crate::effects::{World, WorldSettings};
use crate::system::json_file::write_json;
use crate::system::mark::Marks;
use crate::system::pidfd::ExitWatch;
use crate::system::release::parking;
use crate::system::supervisors::CONTROL;
use crate::system::task::spawn_local;
use crate::system::{say, wait_if_some};
use companion::{Companions, Scene, empty_standard_input};
use guardian::guard;
use leftovers::{Leftovers, clean_locked};
use lock::Lock;
use server::Server;
use sweeper::{nothing_is_left, start_another};

/// Time that clients have to read the last changes after the stack has ended.
const FAREWELL: Duration = Duration::from_millis(300);

/// How often a killed sweeper is replaced.
const SWEEPERS: usize = 5;

/// Runs the supervisor of the stack in `folder` until the stack has ended. It shuts the stack down
/// when the process `until_pid` has exited, and records every event and its effects in `record`.
pub(crate) fn run(
    folder: &Path,
    until_pid: Option<u32>,
    record: Option<&Path>,
) -> anyhow::Result<()> {
    close_inherited();
    let paths = StackPaths::at(folder);
    paths.create().with_context(|| format!("failed to create `{}`", paths.folder().display()))?;
    let lock = Lock::wait(&paths.lock())
        .with_context(|| format!("failed to lock `{}`", paths.lock().display()))?;
    if let Some(Leftovers { supervisor: Some(before), .. }) = clean_locked(&paths, &lock) {
        say(&format!("supervisor {before} died without cleaning up; cleaned up now"));
    }
    let runtime_folder = paths.create_runtime().context("failed to create a folder for sockets")?;
    let marks = Marks::draw(&paths)
        .with_context(|| format!("failed to write `{}`", paths.marks().display()))?;
    let scene = Scene { paths: &paths, runtime: &runtime_folder, marks: &marks };
    let failed = |error: &io::Error| say(&format!("failed to start the guardian: {error}"));
    let mut companions = guard(&scene).inspect_err(failed).ok();
    // From here on this is another process: the guardian's child. A signal to the
    // guardian's group must not reach both.
    let _ = rustix::process::setsid();
    let held = companions.as_mut().and_then(|companions| companions.held.take());
    let guardian = companions.as_ref().map(|companions| companions.guardian.pid);
    let first = take_standard_input();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().on_thread_park(parking).build()?;
    let serving = serve(&scene, &lock, companions, first, until_pid, record);
    let outcome = LocalSet::new().block_on(&runtime, Box::pin(serving));
    // Other threads may still pack an image or copy a program; their results are not needed.
    runtime.shutdown_background();
    let _ = std::fs::remove_file(paths.endpoint());
    let _ = std::fs::remove_dir_all(&runtime_folder);
    // A living guardian reports this itself after it has checked.
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    if let (Ok(true), Some(held)) = (&outcome, &held)
        && parent != guardian
    {
        nothing_is_left(held);
    }
    outcome.map(drop)
}

/// Closes descriptors that the caller's shell left open. The stack would otherwise hold a lock or
/// a pipe of the caller for as long as it runs.
fn close_inherited() {
    // SAFETY: this process has opened no descriptor yet, so no code uses the closed ones.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Serves until the stack has ended. Returns whether nothing of the stack is left.
async fn serve(
    scene: &Scene<'_>,
    lock: &Lock,
    companions: Option<Companions>,
    first: Option<BlockingStream>,
    until_pid: Option<u32>,
    record: Option<&Path>,
) -> anyhow::Result<bool> {
    let paths = scene.paths;
    let socket = scene.runtime.join(CONTROL);
    let listener =
        listen(&socket).with_context(|| format!("failed to listen on `{}`", socket.display()))?;
    let path = paths.endpoint();
    write_json(&path, &Endpoint { pid: std::process::id(), socket })
        .with_context(|| format!("failed to write `{}`", path.display()))?;

    let (event_sender, events) = unbounded_channel();
    let (input_sender, inputs) = unbounded_channel();
    let world = World::new(
        WorldSettings {
            state: paths.folder().to_path_buf(),
            runtime: scene.runtime.to_path_buf(),
            marks: scene.marks.clone(),
        },
        event_sender,
    )
    .context("failed to prepare the stack's folders")?;
    // Only this user can read the files of the stack. A service gets the umask of its command.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let record = record.map(|path| {
        Record::create(path).with_context(|| format!("failed to write `{}`", path.display()))
    });
    let board = Board::new(paths.stack());
    let mut server = Server::new(input_sender.clone(), &board);
    let guardian_pid = companions.as_ref().map(|companions| companions.guardian.pid);
    let mut driver = Driver::new(world, board, record.transpose()?, guardian_pid);
    watch_signals(&input_sender)?;
    if let Some(pid) = until_pid {
        let watched = watch_process(pid, input_sender.clone());
        watched.with_context(|| format!("failed to watch process {pid}"))?;
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
    let watcher = driver.watcher().and_then(|pid| ExitWatch::new(pid).ok());
    driver.close();
    let _ = tokio::time::timeout(FAREWELL, async {
        for writer in server.writers {
            let _ = writer.await;
        }
        // It exits at the end of its connection.
        if let Some(watcher) = &watcher {
            watcher.exited().await;
        }
    })
    .await;
    // This may wait for a container engine; clients have received everything by now.
    Ok(driver.end())
}

/// Takes the connection that the launching client passed as standard input, if there is one, and
/// redirects standard input from `/dev/null`.
fn take_standard_input() -> Option<BlockingStream> {
    let input = io::stdin();
    SockRef::from(&input).r#type().ok()?;
    let stream = BlockingStream::from(input.as_fd().try_clone_to_owned().ok()?);
    empty_standard_input().ok()?;
    Some(stream)
}

/// Reports the guardian's end and replaces a dead sweeper. Returns only on an error.
///
/// # Errors
/// When guardian or sweeper cannot be watched.
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
            () = wait_if_some(sweeper.as_ref().map(ExitWatch::exited)) => {
                started += 1;
                (number, sweeper) = (None, None);
                if started <= SWEEPERS {
                    let another = start_another(scene, lock);
                    match another.and_then(|it| Ok((it.pid, ExitWatch::of(it.pidfd)?))) {
                        Ok((pid, watched)) => (number, sweeper) = (Some(pid), Some(watched)),
                        Err(error) => say(&format!("failed to start the sweeper: {error}")),
                    }
                }
            }
        }
    }
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Only this user can enter the folder, so no client connects before the mode is set.
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

/// Sends [`Input::Abandoned`] when the process has exited, also if it already has.
fn watch_process(pid: u32, inputs: UnboundedSender<Input>) -> io::Result<()> {
    let watched = ExitWatch::new(pid)?;
    spawn_local(async move {
        watched.exited().await;
        let _ = inputs.send(Input::Abandoned);
    });
    Ok(())
}
