//! The places of open connections. A connection has one until it closes.
//!
//! When all are taken, the next caller gets the place of the connection that has waited longest
//! for the head of a request. So callers that send nothing, or send a head byte by byte, delay no
//! other caller. A connection whose request is being answered keeps its place.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The time for a connection to close before another one is closed, too. A connection that has just
/// received a request closes after its answer.
const CLOSING: Duration = Duration::from_millis(10);

/// The places of one service.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// The connections that can be closed.
    open: Mutex<Vec<Arc<Connection>>>,
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    connection: Arc<Connection>,
    _permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Connection {
    phase: Mutex<Phase>,
    lost: Notify,
}

/// What a connection does.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It has waited for its first head since then.
    New(Instant),
    /// A request is being answered.
    Busy,
    /// It has waited for its next head since then.
    Idle(Instant),
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Connection>);

/// The body of an answer, whose end is that of the request.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    body: Body,
    _busy: Busy,
}

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(count)), open: Mutex::default() })
    }

    /// Waits for a place. If all are taken, it closes a connection that only waits.
    pub(crate) async fn take(self: &Arc<Self>) -> Place {
        loop {
            if self.free.available_permits() == 0 {
                self.close_longest_wait();
            }
            let permit = self.free.clone().acquire_owned();
            if let Ok(permit) = timeout(CLOSING, permit).await {
                return self.place(permit.ok());
            }
        }
    }

    /// A place above the limit.
    pub(crate) fn above_limit(self: &Arc<Self>) -> Place {
        self.place(None)
    }

    fn place(self: &Arc<Self>, permit: Option<OwnedSemaphorePermit>) -> Place {
        let phase = Mutex::new(Phase::New(Instant::now()));
        let connection = Arc::new(Connection { phase, lost: Notify::new() });
        self.open().push(connection.clone());
        Place { places: self.clone(), connection, _permit: permit }
    }

    fn close_longest_wait(&self) {
        let mut open = self.open();
        let waiting =
            open.iter().enumerate().filter_map(|(index, connection)| match *connection.phase() {
                Phase::New(since) | Phase::Idle(since) => Some((since, index)),
                Phase::Busy => None,
            });
        if let Some((_, index)) = waiting.min() {
            open.swap_remove(index).lost.notify_one();
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until the connection has to close.
    pub(crate) async fn lost(&self) {
        self.connection.lost.notified().await;
    }

    /// Since when the connection has waited for the head of its first request; none once that has
    /// arrived.
    pub(crate) fn new_since(&self) -> Option<Instant> {
        match *self.connection.phase() {
            Phase::New(since) => Some(since),
            Phase::Busy | Phase::Idle(_) => None,
        }
    }

    /// Whether no other place is free.
    pub(crate) fn is_last(&self) -> bool {
        self.places.free.available_permits() == 0
    }

    /// The connection keeps its place until the result is dropped.
    pub(crate) fn begin(&self) -> Busy {
        *self.connection.phase() = Phase::Busy;
        Busy(self.connection.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open().retain(|open| !Arc::ptr_eq(open, &self.connection));
    }
}

impl Busy {
    /// An answer that has been sent when its body is dropped.
    pub(crate) fn until_sent(self, answer: Response) -> axum::http::Response<AnswerBody> {
        answer.map(|body| AnswerBody { body, _busy: self })
    }
}

impl Connection {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.phase() = Phase::Idle(Instant::now());
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
