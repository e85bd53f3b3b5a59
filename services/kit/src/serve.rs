//! The accept loop and the drain. A stop loses no request on an accepted connection.
//!
//! After a stop the service accepts no connection. It answers open connections for a grace time,
//! with `Connection: close`, and then closes idle ones. axum's graceful shutdown has no grace time:
//! it drops an accepted connection whose request is not read yet.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::request::Parts;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tower::ServiceExt as _;

use crate::callers::LocalAddress;
use crate::listener::{Listeners, Origin};
use crate::places::{Place, Places};
use crate::settings::{SettingError, Settings};
use crate::write_timeout::WriteTimeout;

/// The times of a drain.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// New requests on open connections are answered for this time, counted from the stop, and
    /// the first request of a new connection for at least a second.
    pub grace: Duration,
    /// Unfinished answers are dropped after this time, counted from the stop.
    pub limit: Duration,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Every connection was closed after its last answer.
    Complete,
    /// A connection was still open at the limit.
    CutOff,
}

/// The stage of the service; connections read it before each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Accepting,
    Answering,
    Closing,
}

/// The default of [`Serving::head_time`].
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(5);

/// The default of [`Serving::connections`].
pub const MAX_CONNECTIONS: usize = 400;

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// The limit of open connections, until a stop; one more of each socket waits for a place.
    /// Further callers wait in the socket's queue, so descriptors remain for the database and for
    /// calls to other services. At the limit the connection that waits longest for the head of a
    /// request closes, and every other one closes after its next answer.
    pub connections: usize,
    /// The timeout for the head of the next request on a connection. It also frees the places of
    /// idle and slow connections.
    pub head_time: Duration,
    /// The timeout for a caller that reads nothing of its answer.
    pub write_time: Duration,
    /// The times of the drain.
    pub drain: Drain,
}

/// Completes when the service stops, as an extension of requests. A handler with an endless answer,
/// such as a stream of events, ends it then; otherwise it would delay the stop until the limit.
#[derive(Clone, Debug)]
pub struct Stopping(Option<watch::Receiver<Stage>>);

/// The pause after an error of `accept` that is not the caller's fault, such as too many open
/// files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How long after its start a connection stays open for its first request during a drain, even
/// behind the grace time: on a busy machine a caller may send it late.
const FIRST_HEAD_TIME: Duration = Duration::from_secs(1);

/// How long the rest of a handshake may take that began before the stop.
const HANDSHAKE: Duration = Duration::from_millis(3);

impl Default for Drain {
    fn default() -> Self {
        Self { grace: Duration::from_millis(250), limit: Duration::from_secs(8) }
    }
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            head_time: HEAD_TIME,
            write_time: Duration::from_secs(5),
            drain: Drain::default(),
        }
    }
}

impl From<Drain> for Serving {
    fn from(drain: Drain) -> Self {
        Self { drain, ..Self::default() }
    }
}

impl Serving {
    /// Reads `MAX_CONNECTIONS`, `HEAD_TIMEOUT`, `WRITE_TIMEOUT`, `DRAIN_GRACE` and
    /// `DRAIN_TIMEOUT`.
    ///
    /// # Errors
    /// When one of them is not a number from 1 to 100,000 or a time.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let default = Self::default();
        let (name, expected) = ("MAX_CONNECTIONS", "a number from 1 to 100000");
        let connections = settings.parsed(name, default.connections, expected)?;
        if !(1..=100_000).contains(&connections) {
            return Err(SettingError::bad(name, connections.to_string(), expected));
        }
        Ok(Self {
            connections,
            head_time: settings.time("HEAD_TIMEOUT", default.head_time)?,
            write_time: settings.time("WRITE_TIMEOUT", default.write_time)?,
            drain: Drain {
                grace: settings.time("DRAIN_GRACE", default.drain.grace)?,
                limit: settings.time("DRAIN_TIMEOUT", default.drain.limit)?,
            },
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Stopping {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        // Without a connection, as in a test, the service never stops.
        Ok(known.unwrap_or(Self(None)))
    }
}

impl Stopping {
    /// Waits until the service stops accepting connections.
    pub async fn begun(self) {
        match self.0 {
            Some(mut stage) => reached(&mut stage, Stage::Answering).await,
            None => std::future::pending().await,
        }
    }
}

/// Serves until `stop` completes, then drains.
pub async fn serve(
    listeners: Listeners,
    router: Router,
    serving: impl Into<Serving>,
    stop: impl Future<Output = ()>,
) -> DrainOutcome {
    let serving = serving.into();
    let drain = serving.drain;
    let (stage, observed) = watch::channel(Stage::Accepting);
    // No message is sent: the channel closes when the last connection drops its sender.
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
    let places = Places::new(serving.connections);
    // Dropping the set aborts the loops that are left.
    let mut accepting = JoinSet::new();
    for socket in listeners.sockets {
        let connections = Connections {
            router: router.clone(),
            stage: observed.clone(),
            open: open.clone(),
            places: places.clone(),
            serving,
        };
        accepting.spawn(accept(socket, listeners.origin, connections));
    }
    drop((observed, open, router));

    stop.await;
    stage.send_replace(Stage::Answering);
    // The accept loops hold a sender, too.
    if timeout(drain.grace, all_closed.recv()).await.is_ok() {
        return DrainOutcome::Complete;
    }
    stage.send_replace(Stage::Closing);
    match timeout(drain.limit.saturating_sub(drain.grace), all_closed.recv()).await {
        Ok(_) => DrainOutcome::Complete,
        Err(_) => DrainOutcome::CutOff,
    }
}

/// The shared state of the connections of one socket.
struct Connections {
    router: Router,
    stage: watch::Receiver<Stage>,
    open: mpsc::Sender<Infallible>,
    places: Arc<Places>,
    serving: Serving,
}

impl Connections {
    /// Answers requests on a connection until it closes.
    fn spawn(&self, stream: TcpStream, place: Place) {
        let (router, stage, open) = (self.router.clone(), self.stage.clone(), self.open.clone());
        let serving = self.serving;
        tokio::spawn(async move {
            answer(stream, router, stage, &place, serving).await;
            drop((place, open));
        });
    }
}

async fn accept(socket: TcpListener, origin: Origin, connections: Connections) {
    let mut stage = connections.stage.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = reached(&mut stage, Stage::Answering) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // A connection that is accepted is answered, also at a stop.
                let place = tokio::select! {
                    place = connections.places.take() => place,
                    () = reached(&mut stage, Stage::Answering) => connections.places.above_limit(),
                };
                connections.spawn(stream, place);
            }
            Err(error) if is_callers_fault(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The queue of a bound socket is lost with this process; that of an inherited one is not.
    if origin == Origin::Bound {
        accept_queue(&socket, &mut stage, &connections).await;
    }
}

/// Accepts every connection that a caller has begun, also above the limit: one that is still in the
/// queue when the socket closes gets no answer. If descriptors run out, it retries as connections
/// close.
async fn accept_queue(
    socket: &TcpListener,
    stage: &mut watch::Receiver<Stage>,
    connections: &Connections,
) {
    ignore_new_callers(socket);
    loop {
        let accepted = tokio::select! {
            accepted = timeout(HANDSHAKE, socket.accept()) => accepted,
            () = reached(stage, Stage::Closing) => return,
        };
        match accepted {
            Err(_) => return,
            Ok(Ok((stream, _))) => connections.spawn(stream, connections.places.above_limit()),
            Ok(Err(error)) if is_callers_fault(&error) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Drops the first packet of every further caller, who sends it again and is refused once the
/// socket is closed. Without this, a caller whose connection is made while the socket closes gets
/// no answer.
fn ignore_new_callers(socket: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        use socket2::{SockFilter, SockRef};
        // Instructions of the classic packet filter: the flags of TCP are its 14th byte.
        const LOAD_BYTE: u16 = 0x30;
        const JUMP_IF_ANY: u16 = 0x45;
        const RETURN: u16 = 0x06;
        const SYN: u32 = 0x02;
        let filter = [
            SockFilter::new(LOAD_BYTE, 0, 0, 13),
            SockFilter::new(JUMP_IF_ANY, 0, 1, SYN),
            SockFilter::new(RETURN, 0, 0, 0),
            SockFilter::new(RETURN, 0, 0, u32::MAX),
        ];
        if let Err(error) = SockRef::from(socket).attach_filter(&filter) {
            tracing::debug!(%error, "callers are not held off");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// Waits for `wanted` or a later stage.
async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    // The value is a lock guard that must not be held. An error means that `serve` has returned.
    drop(stage.wait_for(|stage| *stage >= wanted).await);
}

fn is_callers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn answer(
    stream: TcpStream,
    router: Router,
    mut stage: watch::Receiver<Stage>,
    place: &Place,
    serving: Serving,
) {
    // Answers are small and complete: waiting for a full packet only adds latency.
    stream.set_nodelay(true).ok();
    let observed = stage.clone();
    let local = stream.local_addr().ok().map(LocalAddress);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        if let Some(local) = local {
            request.extensions_mut().insert(local);
        }
        request.extensions_mut().insert(Stopping(Some(observed.clone())));
        let (router, stage, busy) = (router.clone(), observed.clone(), place.begin());
        async move {
            let mut response = router.oneshot(request.map(Body::new)).await?;
            if *stage.borrow() != Stage::Accepting || place.is_last() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(busy.until_sent(response))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(serving.head_time)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, serving.write_time)), service);
    tokio::pin!(connection);
    let closing = async {
        reached(&mut stage, Stage::Closing).await;
        if let Some(since) = place.new_since() {
            sleep_until((since + FIRST_HEAD_TIME).into()).await;
        }
    };
    let served = tokio::select! {
        // A request that has arrived is answered.
        biased;
        served = connection.as_mut() => served,
        () = place.lost() => {
            connection.as_mut().graceful_shutdown();
            // hyper waits for the rest of a first head.
            if place.new_since().is_some() {
                return;
            }
            connection.await
        }
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection failed");
    }
}
