//! The common part of every `main`: command line, logs, runtime, readiness, signals, exit code.
//!
//! Each service provides its own settings, routes and schema.

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

use axum::Router;
use tokio::signal::unix::{SignalKind, signal};

use crate::database::{Database, Migration, Pool};
use crate::listener::{BindAddress, Listeners};
use crate::otlp::{self, Program};
use crate::probe;
use crate::readiness::Readiness;
use crate::serve::{DrainOutcome, Serving, serve};
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
}

impl From<&Service> for Program {
    fn from(service: &Service) -> Self {
        Self { name: service.name, version: Some(service.version) }
    }
}

/// Runs a service without a database. `prepare` reads the settings and makes the application.
pub fn run(
    service: &Service,
    prepare: impl FnOnce(&Settings) -> Result<Router, SettingError>,
) -> ExitCode {
    run_with(service, async |settings: &Settings, address| {
        let app = prepare(settings)?;
        let listeners = Listeners::obtain(settings, &address)?;
        serve_until_signal(listeners, app, Serving::from_settings(settings)?).await
    })
}

/// Runs a service with the database at `DATABASE_URL`. `prepare` reads the service's own settings,
/// and returns a function that makes the application from the open database.
pub fn run_with_database<A: FnOnce(Database) -> Router>(
    service: &Service,
    migrations: &[Migration],
    prepare: impl FnOnce(&Settings) -> Result<A, SettingError>,
) -> ExitCode {
    run_with(service, async |settings: &Settings, address| {
        let (url, pool) = (database_url(service, settings)?, Pool::from_settings(settings)?);
        let (app, serving) = (prepare(settings)?, Serving::from_settings(settings)?);
        // The socket is first: callers queue in it during the migrations.
        let listeners = Listeners::obtain(settings, &address)?;
        let database = Database::open_with(&url, migrations, pool).await?;
        let result = serve_until_signal(listeners, app(database.clone()), serving).await;
        database.close().await;
        result
    })
}

/// Runs what the command line asks for; `start` serves.
fn run_with(
    service: &Service,
    start: impl AsyncFnOnce(&Settings, BindAddress) -> Result<(), Fatal>,
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
        Ok(Invocation::Serve) => block_on(service.into(), &settings, async {
            let address = BindAddress::from_settings(&settings, service.port)?;
            start(&settings, address).await
        }),
        Err(error) => {
            eprintln!("{name}: {error}\nhint: usage: `{name} [--probe PATH | --version]`");
            return ExitCode::from(2);
        }
    };
    exit_code(name, result)
}

fn database_url(service: &Service, settings: &Settings) -> Result<String, SettingError> {
    let example = format!("sqlite:{}.db", service.name);
    settings.required("DATABASE_URL", "the address of a database", &example)
}

/// Runs a job, which has neither a port nor arguments.
pub fn run_job<F>(name: &'static str, job: impl FnOnce(Settings) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Fatal>>,
{
    let program = Program { name, version: None };
    exit_code(name, block_on(program, &Settings::from_process(), job(Settings::from_process())))
}

/// Serves `router` on `listeners` until SIGTERM or SIGINT, then drains. Readiness and the drain are
/// reported to the supervisor. A second signal ends the drain.
async fn serve_until_signal(
    listeners: Listeners,
    router: Router,
    serving: Serving,
) -> Result<(), Fatal> {
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
        outcome = serve(listeners, router, serving, stopped) => match outcome {
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
    program: Program,
    settings: &Settings,
    work: impl Future<Output = Result<(), Fatal>>,
) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    telemetry::start(program, settings, runtime.handle())?;
    let result = runtime.block_on(work);
    otlp::stop();
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
    use super::{Invocation, Service, Settings, UsageError, database_url};

    fn parse(arguments: &[&str]) -> Result<Invocation, UsageError> {
        super::parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn missing_database_url_is_named() {
        let service = Service { name: "todo", version: "1", port: 5001 };
        let error = database_url(&service, &Settings::from_pairs([])).unwrap_err().to_string();
        for expected in ["`DATABASE_URL` is not set", "`DATABASE_URL=sqlite:todo.db`"] {
            assert!(error.contains(expected), "{error}");
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
