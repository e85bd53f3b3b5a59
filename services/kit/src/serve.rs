//! The accept loop, and the end of it: no caller that got through is turned away.
//!
//! On a stop the service accepts no more, goes on answering for a grace time with
//! `Connection: close`, and only then closes idle connections. axum's own graceful shutdown lacks
//! that grace: it drops connections that were accepted but whose request was not read yet.
//! What is served, and when to stop, is the caller's business.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use crate::listener::{Listeners, Origin};
use crate::taken::Taken;

/// How long a stop may take.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// Time in which requests on open connections are still answered, so that a client that is
    /// just sending one loses nothing.
    pub grace: Duration,
    /// Time after which answers that are still being made are given up, counted from the stop.
    pub limit: Duration,
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every connection was closed in order.
    Drained,
    /// The limit passed and some connection was cut off.
    CutOff,
}

/// Where the loop is; connections read it before each answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Accepting,
    Answering,
    Closing,
}

/// A connection is closed when the head of its next request has not come whole within this time:
/// those that say nothing, or say it slowly, keep nobody out for longer.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(5);

/// A connection is closed when its caller takes nothing of an answer for this long.
const TAKING_TIME: Duration = Duration::from_secs(5);

/// So many connections are open at a time, until a stop; each socket keeps one of these places
/// for its next caller. Further callers wait in the socket's queue, so that descriptors are left
/// for the database and for calls to others. While no place is free, each connection closes
/// after its next answer: those that are only kept open keep nobody out.
pub const MOST_CONNECTIONS: usize = 400;

/// A pause after an error of `accept` that is not the caller's fault, such as too many open files:
/// some are closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

impl Default for Drain {
    fn default() -> Self {
        Self { grace: Duration::from_millis(250), limit: Duration::from_secs(8) }
    }
}

/// Serves until `stop` completes, then drains.
pub async fn serve(
    listeners: Listeners,
    router: Router,
    drain: Drain,
    stop: impl Future<Output = ()>,
) -> Ended {
    let (stage, observed) = watch::channel(Stage::Accepting);
    // Nothing is ever sent: the channel closes when the last connection drops its sender.
    let (alive, mut all_closed) = mpsc::channel::<Infallible>(1);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // Those that are left at the end are ended with it.
    let mut accepting = JoinSet::new();
    for socket in listeners.sockets {
        let connections = Connections {
            router: router.clone(),
            stage: observed.clone(),
            alive: alive.clone(),
            places: places.clone(),
        };
        accepting.spawn(accept(socket, listeners.origin, connections));
    }
    drop((observed, alive, router));

    stop.await;
    stage.send_replace(Stage::Answering);
    // The loops hold a sender as well: none is left once they have ended, too.
    if timeout(drain.grace, all_closed.recv()).await.is_ok() {
        return Ended::Drained;
    }
    stage.send_replace(Stage::Closing);
    match timeout(drain.limit.saturating_sub(drain.grace), all_closed.recv()).await {
        Ok(_) => Ended::Drained,
        Err(_) => Ended::CutOff,
    }
}

/// What each connection needs.
struct Connections {
    router: Router,
    stage: watch::Receiver<Stage>,
    alive: mpsc::Sender<Infallible>,
    places: Arc<Semaphore>,
}

impl Connections {
    /// Answers on a connection until it closes; its place is free then.
    fn open(&self, stream: TcpStream, place: Option<OwnedSemaphorePermit>) {
        let (router, stage, alive) = (self.router.clone(), self.stage.clone(), self.alive.clone());
        let places = self.places.clone();
        tokio::spawn(async move {
            answer(stream, router, stage, &places).await;
            drop((place, alive));
        });
    }

    /// The next caller, once there is a place for one.
    async fn next(&self, socket: &TcpListener) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let place = self.places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = socket.accept().await?;
        Ok((stream, place))
    }
}

async fn accept(socket: TcpListener, origin: Origin, connections: Connections) {
    let mut stage = connections.stage.clone();
    loop {
        tokio::select! {
            biased;
            () = reached(&mut stage, Stage::Answering) => break,
            accepted = connections.next(&socket) => match accepted {
                Ok((stream, place)) => connections.open(stream, Some(place)),
                Err(error) if is_callers_fault(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Nobody else will take those who wait in a socket of our own; an inherited one lives on.
    if origin == Origin::Bound
        && let Ok(socket) = socket.into_std()
    {
        empty(&socket, &mut stage, &connections).await;
    }
}

/// Takes all who wait in a socket, beyond the number of places: who must wait longer than the
/// grace time gets no answer. Descriptors may run out, and come back as connections close.
async fn empty(
    socket: &std::net::TcpListener,
    stage: &mut watch::Receiver<Stage>,
    connections: &Connections,
) {
    loop {
        match socket.accept() {
            Ok((stream, _)) => {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    connections.open(stream, None);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if is_callers_fault(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::select! {
                    () = reached(stage, Stage::Closing) => return,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// Waits for `wanted` or a later stage.
async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    // The value is a lock guard that must not be held; a loop that is gone is past every stage.
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
    places: &Semaphore,
) {
    // Answers are small and complete: waiting to fill a packet only costs time.
    stream.set_nodelay(true).ok();
    let observed = stage.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (router, stage) = (router.clone(), observed.clone());
        async move {
            let mut response = router.oneshot(request.map(Body::new)).await?;
            if *stage.borrow() != Stage::Accepting || places.available_permits() == 0 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(Taken::new(stream, TAKING_TIME)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = reached(&mut stage, Stage::Closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}
