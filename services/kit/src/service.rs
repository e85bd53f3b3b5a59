//! The common part of every `main`: command line, logs, runtime, readiness, signals, exit code.
//!
//! Each service provides its own settings, routes and schema.

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

use axum::Router;
use tokio::signal::unix::{SignalKind, signal};

use crate::database::{Database, Migration};
use crate::listener::{BindAddress, Listeners};
use crate::probe;
use crate::readiness::Readiness;
use crate::serve::{Drain, DrainOutcome, serve};
use crate::settings::{SettingError, Settings};
use crate::telemetry;

/// An error that ends the program; [`run`] prints it with its causes.
pub type Fatal = Box<dyn Error + Send + Sync>;

/// The command line.
#[derive(Debug, PartialEq, Eq)]
enum Invocation {
    Serve,
    Probe(String),
    Version,
}

/// Why a command line is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum UsageError {
    #[error("`--probe` needs a path such as `/readyz`, not {seen:?}")]
    Path { seen: Option<String> },
    #[error("unknown argument `{0}`")]
    Unknown(String),
}

/// A service: its name and version, and what it adds to the common settings.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The name in messages.
    pub name: &'static str,
    /// The version of its package.
    pub version: &'static str,
    /// The default of `PORT`.
    pub port: u16,
    /// The schema of its database.
    pub migrations: &'static [Migration],
}

/// Runs a service. `prepare` reads the service's own settings, and returns a function that makes
/// the application from the open database.
pub fn run<A: FnOnce(Database) -> Router>(
    service: &Service,
    prepare: impl FnOnce(&Settings) -> Result<A, SettingError>,
) -> ExitCode {
    let (name, settings) = (service.name, Settings::from_process());
    let result = match parse(std::env::args().skip(1)) {
        Ok(Invocation::Version) => {
            println!("{name} {}", service.version);
            Ok(())
        }
        Ok(Invocation::Probe(path)) => BindAddress::from_settings(&settings, service.port)
            .map_err(Fatal::from)
            .and_then(|address| Ok(probe::probe(&address, &path)?)),
        Ok(Invocation::Serve) => block_on(&settings, start(service, &settings, prepare)),
        Err(error) => {
            eprintln!("{name}: {error}\nhint: usage: `{name} [--probe PATH | --version]`");
            return ExitCode::from(2);
        }
    };
    exit_code(name, result)
}

async fn start<A: FnOnce(Database) -> Router>(
    service: &Service,
    settings: &Settings,
    prepare: impl FnOnce(&Settings) -> Result<A, SettingError>,
) -> Result<(), Fatal> {
    let (address, url) = common_settings(service, settings)?;
    let app = prepare(settings)?;
    // The socket is first: callers queue in it during the migrations.
    let listeners = Listeners::obtain(settings, &address)?;
    let database = Database::open(&url, service.migrations).await?;
    let result = serve_until_signal(listeners, app(database.clone())).await;
    database.close().await;
    result
}

/// `HOST` with `PORT`, and `DATABASE_URL`.
fn common_settings(
    service: &Service,
    settings: &Settings,
) -> Result<(BindAddress, String), SettingError> {
    let address = BindAddress::from_settings(settings, service.port)?;
    let example = format!("sqlite:{}.db", service.name);
    Ok((address, settings.required("DATABASE_URL", "the address of a database", &example)?))
}

/// Runs a job, which has neither a port nor arguments.
pub fn run_job<F>(name: &'static str, job: impl FnOnce(Settings) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Fatal>>,
{
    exit_code(name, block_on(&Settings::from_process(), job(Settings::from_process())))
}

/// Serves `router` on `listeners` until SIGTERM or SIGINT, then drains. Readiness and the drain are
/// reported to the supervisor. A second signal ends the drain.
async fn serve_until_signal(listeners: Listeners, router: Router) -> Result<(), Fatal> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let readiness = Readiness::from_process();
    let status = format!("serving on {}", listeners.describe());
    tracing::info!(origin = ?listeners.origin, "{status}");
    readiness.ready(&status);

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        stopped.await.ok();
    };
    let watch_signals = async {
        wait(&mut terminate, &mut interrupt).await;
        tracing::info!("draining");
        stop.send(()).ok();
        // `serve` is polled first and closes the sockets before the supervisor is notified.
        tokio::task::yield_now().await;
        readiness.stopping();
        wait(&mut terminate, &mut interrupt).await;
    };
    tokio::select! {
        biased;
        outcome = serve(listeners, router, Drain::default(), stopped) => match outcome {
            DrainOutcome::Complete => tracing::info!("stopped"),
            DrainOutcome::CutOff => tracing::warn!("stopped, unfinished answers were dropped"),
        },
        () = watch_signals => tracing::warn!("stopped without draining, because of a second signal"),
        () = readiness.feed_watchdog() => {}
    }
    Ok(())
}

async fn wait(one: &mut tokio::signal::unix::Signal, other: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn block_on(
    settings: &Settings,
    program: impl Future<Output = Result<(), Fatal>>,
) -> Result<(), Fatal> {
    telemetry::start(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(program);
    // Dropped answers must not delay the exit.
    runtime.shutdown_background();
    result
}

fn exit_code(name: &str, result: Result<(), Fatal>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut text = error.to_string();
    for cause in successors(error.source(), |&cause| cause.source()).map(ToString::to_string) {
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("{name}: {text}");
    ExitCode::FAILURE
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Invocation, UsageError> {
    let invocation = match arguments.next().as_deref() {
        None => Invocation::Serve,
        Some("--version") => Invocation::Version,
        Some("--probe") => match arguments.next() {
            Some(path) if path.starts_with('/') => Invocation::Probe(path),
            seen => return Err(UsageError::Path { seen }),
        },
        Some(other) => return Err(UsageError::Unknown(other.to_owned())),
    };
    arguments.next().map_or(Ok(invocation), |extra| Err(UsageError::Unknown(extra)))
}

#[cfg(test)]
mod tests {
    use super::{Invocation, Service, Settings, UsageError, common_settings};

    fn parse(arguments: &[&str]) -> Result<Invocation, UsageError> {
        super::parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn wrong_common_settings_name_the_variable() {
        let service = Service { name: "todo", version: "1", port: 5001, migrations: &[] };
        for (pairs, expected) in [
            (vec![], "`DATABASE_URL` is not set"),
            (vec![], "`DATABASE_URL=sqlite:todo.db`"),
            (vec![("DATABASE_URL", "sqlite:x"), ("PORT", "http")], "`PORT` is `http`"),
        ] {
            let error = common_settings(&service, &Settings::from_pairs(pairs)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn command_line_serves_or_probes() {
        assert_eq!(parse(&[]), Ok(Invocation::Serve));
        assert_eq!(parse(&["--probe", "/readyz"]), Ok(Invocation::Probe("/readyz".into())));
        assert!(parse(&["--probe"]).is_err());
        assert!(parse(&["--probe", "/a", "/b"]).is_err());
        assert!(parse(&["serve"]).is_err());
    }
}
