//! One command of the engine without a runtime, for processes that have none.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::engine::EngineError;

/// How long a command may take: the caller holds the stack's lock.
const TIMEOUT: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(5);

/// Runs a command and returns its standard output. Its pipes are read while it runs, so
/// that a full pipe does not block it.
pub(super) fn run(mut command: Command) -> Result<String, EngineError> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let failed = |source| EngineError::Run { command: shown.clone(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut out = Output::of(child.stdout.take()).map_err(failed)?;
    let mut err = Output::of(child.stderr.take()).map_err(failed)?;
    let until = Instant::now() + TIMEOUT;
    let status = loop {
        let status = child.try_wait().map_err(failed)?;
        out.read();
        err.read();
        match status {
            Some(status) => break status,
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(EngineError::TimedOut { command: shown, after: TIMEOUT });
            }
            None => std::thread::sleep(PAUSE),
        }
    };
    match status.success() {
        true => Ok(out.text()),
        false => Err(EngineError::Failed { command: shown, message: err.text().trim().to_owned() }),
    }
}

/// What a command has printed so far.
struct Output<P> {
    pipe: Option<P>,
    bytes: Vec<u8>,
}

impl<P: Read + AsFd> Output<P> {
    fn of(pipe: Option<P>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { pipe, bytes: Vec::new() })
    }

    fn read(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.read_to_end(&mut self.bytes);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
