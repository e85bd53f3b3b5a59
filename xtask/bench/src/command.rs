//! Runs commands and measures them.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How a command ended, and what it printed.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) took: Duration,
    pub(crate) stdout: Vec<u8>,
}

/// Runs a command to its end.
///
/// # Errors
/// If it fails; the error has what it printed on standard error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Output> {
    let name = name(command);
    let began = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = child.and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| format!("failed to start `{name}`"))?;
    let took = began.elapsed();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed with {}:\n{stderr}", output.status);
    }
    Ok(Output { took, stdout: output.stdout })
}

/// The program and its arguments, for messages.
pub(crate) fn name(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}
