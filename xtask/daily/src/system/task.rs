//! Starts tasks through one type of future.
//!
//! A runtime is generic in its tasks: each type of future that is spawned compiles some two hundred
//! functions of it anew. Boxed futures of one result share them, which saves a sixth of the time
//! to compile this crate. A task starts a few times a second at most, so the box costs nothing.

use std::pin::Pin;

use tokio::task::JoinHandle;

/// A future of any task with this result.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The task as one that other threads can poll. For a set of tasks.
pub fn boxed<T>(task: impl Future<Output = T> + Send + 'static) -> Boxed<T> {
    Box::pin(task)
}

/// As [`tokio::spawn`].
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(boxed(task))
}

/// As [`tokio::task::spawn_local`].
pub(crate) fn spawn_local<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let task: Pin<Box<dyn Future<Output = T>>> = Box::pin(task);
    tokio::task::spawn_local(task)
}

/// As [`tokio::task::spawn_blocking`].
pub(crate) fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let work: Box<dyn FnOnce() -> T + Send> = Box::new(work);
    tokio::task::spawn_blocking(work)
}
