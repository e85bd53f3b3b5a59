//! The frame of a service's `main`: command line, logs, runtime, and the exit code; and the frame
//! of its life: ready, serve until told to stop, drain.
//!
//! What a service opens before it is ready, and what it answers, is its own business.

use std::error::Error;
use std::process::ExitCode;

use axum::Router;
use tokio::signal::unix::{SignalKind, signal};

use crate::listener::{Address, Listeners};
use crate::probe;
use crate::readiness::Readiness;
use crate::serve::{Drain, Ended, serve};
use crate::settings::Settings;
use crate::telemetry;

/// Any error that ends a program; `main` prints it with its causes.
pub type Fatal = Box<dyn Error + Send + Sync>;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Serve,
    Probe(String),
    Version,
}

/// Runs a service named `name`, whose port is `default_port` where `PORT` does not say otherwise.
pub fn run<F>(
    name: &'static str,
    version: &'static str,
    default_port: u16,
    service: impl FnOnce(Settings) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), Fatal>>,
{
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(complaint) => {
            eprintln!("{name}: {complaint}\nhint: usage: `{name} [--probe PATH | --version]`");
            return ExitCode::from(2);
        }
    };
    let settings = Settings::from_process();
    let outcome = match asked {
        Asked::Version => {
            println!("{name} {version}");
            Ok(())
        }
        Asked::Probe(path) => Address::from_settings(&settings, default_port)
            .map_err(Fatal::from)
            .and_then(|address| probe::probe(&address, &path).map_err(Fatal::from)),
        Asked::Serve => block_on(settings, service),
    };
    exit_code(name, outcome)
}

/// Runs a job: the same frame without a port or a probe.
pub fn run_job<F>(name: &'static str, job: impl FnOnce(Settings) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Fatal>>,
{
    exit_code(name, block_on(Settings::from_process(), job))
}

/// Serves `router` on `listeners` until SIGTERM or SIGINT, and says so to whoever listens.
/// A second signal ends the drain.
///
/// # Errors
/// When signals cannot be handled.
pub async fn serve_until_signal(listeners: Listeners, router: Router) -> Result<(), Fatal> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let readiness = Readiness::from_process();
    let status = format!("serving on {}", listeners.describe());
    tracing::info!(origin = ?listeners.origin, "{status}");
    readiness.ready(&status);

    let (told, wait_told) = tokio::sync::oneshot::channel::<()>();
    let stop = async {
        wait_told.await.ok();
    };
    let watch_signals = async {
        wait(&mut terminate, &mut interrupt).await;
        tracing::info!("draining");
        told.send(()).ok();
        // The loop is polled first and learns of it now: whoever is told that this stops must
        // find that it does.
        tokio::task::yield_now().await;
        readiness.stopping();
        wait(&mut terminate, &mut interrupt).await;
    };
    tokio::select! {
        biased;
        ended = serve(listeners, router, Drain::default(), stop) => match ended {
            Ended::Drained => tracing::info!("stopped"),
            Ended::CutOff => tracing::warn!("stopped, some answers were given up"),
        },
        () = watch_signals => tracing::warn!("stopped without draining, as told twice"),
        () = readiness.keep_watchdog_fed() => {}
    }
    Ok(())
}

async fn wait(one: &mut tokio::signal::unix::Signal, other: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn block_on<F>(settings: Settings, program: impl FnOnce(Settings) -> F) -> Result<(), Fatal>
where
    F: Future<Output = Result<(), Fatal>>,
{
    telemetry::start(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(program(settings));
    // Answers that were given up must not hold the process.
    runtime.shutdown_background();
    outcome
}

fn exit_code(name: &str, outcome: Result<(), Fatal>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    eprintln!("{name}: {text}");
    ExitCode::FAILURE
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let asked = match arguments.next().as_deref() {
        None => Asked::Serve,
        Some("--version") => Asked::Version,
        Some("--probe") => match arguments.next() {
            Some(path) if path.starts_with('/') => Asked::Probe(path),
            seen => return Err(format!("`--probe` wants a path such as `/readyz`, not {seen:?}")),
        },
        Some(other) => return Err(format!("unknown argument `{other}`")),
    };
    match arguments.next() {
        None => Ok(asked),
        Some(extra) => Err(format!("unknown argument `{extra}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Asked, String> {
        asked(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn the_command_line_knows_serving_and_probing() {
        assert_eq!(parse(&[]), Ok(Asked::Serve));
        assert_eq!(parse(&["--probe", "/readyz"]), Ok(Asked::Probe("/readyz".into())));
        assert!(parse(&["--probe"]).is_err());
        assert!(parse(&["--probe", "/a", "/b"]).is_err());
        assert!(parse(&["serve"]).is_err());
    }
}
