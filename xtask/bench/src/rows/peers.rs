//! Other tools that start the same services, if they are installed.
//!
//! They know no readiness of this kind, so the benchmark receives `READY=1` itself. They start all
//! services at once, since none of them waits for a service to be ready.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::Bench;
use crate::process;
use crate::samples::Samples;

/// How long a tool may take to start its services, and then to stop them.
const PATIENCE: Duration = Duration::from_secs(120);

struct Peer {
    name: &'static str,
    program: &'static str,
    /// Writes what the tool reads, and returns the command that starts it in the foreground.
    prepare: fn(&Path, &Path, usize) -> anyhow::Result<Command>,
    /// The signal at which it stops its services and ends.
    stop: libc::c_int,
}

const PEERS: &[Peer] = &[
    Peer { name: "supervisord", program: "supervisord", prepare: supervisord, stop: libc::SIGTERM },
    Peer { name: "runit", program: "runsvdir", prepare: runit, stop: libc::SIGHUP },
];

/// The time from the launch of each tool until so many services are ready.
pub(crate) fn start(bench: &Bench, size: usize) -> anyhow::Result<Vec<(&'static str, Samples)>> {
    let mut measured = Vec::new();
    for peer in PEERS {
        if !is_installed(peer.program) {
            eprintln!("{:>12} {}: it is not installed", "Skipping", peer.name);
            continue;
        }
        let mut samples = Samples::default();
        for _ in 0..bench.runs.min(3) {
            let took = run(bench, peer, size);
            samples.push_time(took.with_context(|| format!("failed to measure {}", peer.name))?);
        }
        measured.push((peer.name, samples));
    }
    Ok(measured)
}

fn run(bench: &Bench, peer: &Peer, size: usize) -> anyhow::Result<Duration> {
    let folder = tempfile::Builder::new().prefix("xtask-bench-").tempdir()?;
    let socket_path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&socket_path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut command = (peer.prepare)(folder.path(), &bench.programs.helper, size)?;
    command.env("NOTIFY_SOCKET", &socket_path).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let running = Running { child: command.spawn()?, stop: peer.stop, bench };
    for _ in 0..size {
        socket.recv(&mut [0; 64]).context("a service is not ready")?;
    }
    let took = began.elapsed();
    drop(running);
    Ok(took)
}

/// A running tool; the drop ends it and its services.
struct Running<'a> {
    child: Child,
    stop: libc::c_int,
    bench: &'a Bench,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // SAFETY: the call takes two numbers; the child is not reaped.
        unsafe { libc::kill(self.child.id().cast_signed(), self.stop) };
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Those of runit end after it.
        while Instant::now() < deadline {
            let left = process::of_program(&self.bench.programs.helper);
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn supervisord(folder: &Path, helper: &Path, size: usize) -> anyhow::Result<Command> {
    let mut text = format!(
        "[supervisord]\nnodaemon = true\nlogfile = /dev/null\nlogfile_maxbytes = 0\n\
         pidfile = {0}/pid\nchildlogdir = {0}\n",
        folder.display()
    );
    for number in 0..size {
        let _ = writeln!(text, "[program:s{number}]\ncommand = {}\n", helper.display());
    }
    let path = folder.join("supervisord.conf");
    fs::write(&path, text)?;
    let mut command = Command::new("supervisord");
    command.arg("-c").arg(path);
    Ok(command)
}

fn runit(folder: &Path, helper: &Path, size: usize) -> anyhow::Result<Command> {
    let services: PathBuf = folder.join("services");
    for number in 0..size {
        let run = services.join(format!("s{number}")).join("run");
        fs::create_dir_all(run.parent().context("it has a parent")?)?;
        fs::write(&run, format!("#!/bin/sh\nexec {}\n", helper.display()))?;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new("runsvdir");
    command.arg(services);
    Ok(command)
}
