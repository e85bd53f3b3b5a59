//! The watcher of the sources: a client that builds and applies edits.
//!
//! A stack has at most one. The driver knows its connection and what it does, and publishes that to
//! the other clients. It never ends the process: a watcher exits when it sees another one in its
//! place, or none.

use xtask_core::snapshot::{State, Watch, WatchState};

use super::requests::Refusal;
use super::{ConnectionId, Driver};

impl Driver {
    /// Makes a connection that of the watcher.
    pub(super) fn begin_watching(
        &mut self,
        connection: ConnectionId,
        watch: Watch,
        keep: bool,
    ) -> Result<(), Refusal> {
        if self.stack.state() == State::Stopping {
            return Err(Refusal::ShuttingDown(self.board.stack().to_owned()));
        }
        if keep {
            self.flags.watch = Some(true);
        }
        self.watcher = Some((connection, watch));
        self.publish_watch();
        Ok(())
    }

    pub(super) fn watch_state(
        &mut self,
        connection: ConnectionId,
        state: WatchState,
    ) -> Result<(), Refusal> {
        match &mut self.watcher {
            Some((watcher, watch)) if *watcher == connection => watch.state = state,
            _ => return Err(Refusal::NotTheWatcher),
        }
        self.publish_watch();
        Ok(())
    }

    pub(super) fn stop_watching(&mut self) {
        self.flags.watch = Some(false);
        self.watcher = None;
        self.publish_watch();
    }

    pub(super) fn watcher_closed(&mut self, connection: ConnectionId) {
        if self.watcher.as_ref().is_some_and(|(watcher, _)| *watcher == connection) {
            self.watcher = None;
            self.publish_watch();
        }
    }

    /// The process of the watcher, if there is one.
    pub(crate) fn watcher(&self) -> Option<u32> {
        self.watcher.as_ref().map(|(_, watch)| watch.pid)
    }

    fn publish_watch(&mut self) {
        let watch = self.watcher.as_ref().map(|(_, watch)| watch.clone());
        self.board.watch(watch);
    }
}
