//! Tells callers that follow the lists of an owner when something has changed.
//!
//! The state of an owner's lists is a few numbers, which every change of a list or item alters: a
//! new list has a new id, a removed one is not counted, and each other change counts up the version
//! of its list in a statement that the change needs anyway. So followers see the changes of every
//! process that uses the database: those of this process at once, others within two seconds.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::Database;
use kit::serve::MAX_CONNECTIONS;
use sqlx::{Any, Row as _, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::error::Error;
use crate::keys::Owner;
use crate::store::Summary;

/// The time within which a change by another process is seen.
const POLL: Duration = Duration::from_secs(2);

/// The most followers. The other connections are left for requests.
pub const MAX_FOLLOWERS: usize = MAX_CONNECTIONS / 2;

/// The state of an owner's lists. Its text is the id of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    lists: i64,
    last: i64,
    versions: i64,
}

/// The followers in this process.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    database: Database,
    /// By the key of the owner.
    owners: Arc<Mutex<HashMap<String, watch::Sender<()>>>>,
    places: Arc<Semaphore>,
}

/// A caller that follows the lists of an owner.
#[derive(Debug)]
pub(crate) struct Follower {
    database: Database,
    key: String,
    woken: watch::Receiver<()>,
    state: State,
    _place: OwnedSemaphorePermit,
}

impl Changes {
    pub(crate) fn new(database: Database) -> Self {
        let places = Arc::new(Semaphore::new(MAX_FOLLOWERS));
        Self { database, owners: Arc::default(), places }
    }

    /// Commits a change of the owner's lists, and wakes the followers.
    pub(crate) async fn commit(
        &self,
        write: Transaction<'static, Any>,
        owner: &Owner,
    ) -> Result<(), sqlx::Error> {
        write.commit().await?;
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = owners.get(&owner.key()) {
            sender.send_replace(());
        }
        Ok(())
    }

    /// A follower that sees every change from now on.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) async fn follow(&self, owner: &Owner) -> Result<Follower, Error> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Error::TooManyFollowers)?;
        let key = owner.key();
        // Before the state is read, so that no change is missed in between.
        let woken = {
            let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            // Owners without a follower leave no trace.
            owners.retain(|_, sender| sender.receiver_count() > 0);
            owners.entry(key.clone()).or_default().subscribe()
        };
        let database = self.database.clone();
        let state = read_state(&database, &key).await?;
        Ok(Follower { database, key, woken, state, _place: place })
    }
}

impl State {
    /// The state of these lists, which must be all lists of the owner.
    pub(crate) fn of<'a>(lists: impl IntoIterator<Item = &'a Summary>) -> Self {
        lists.into_iter().fold(Self::default(), |state, list| Self {
            lists: state.lists + 1,
            last: state.last.max(list.id),
            versions: state.versions + list.version,
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.lists, self.last, self.versions)
    }
}

impl Follower {
    /// The state that the caller knows.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Waits for a change, for [`POLL`] at most, and returns whether there was one.
    pub(crate) async fn changed(&mut self) -> Result<bool, sqlx::Error> {
        // The sender stays in the map while there is a receiver.
        drop(timeout(POLL, self.woken.changed()).await);
        let state = read_state(&self.database, &self.key).await?;
        let changed = state != self.state;
        self.state = state;
        Ok(changed)
    }
}

/// The state of an owner's lists.
async fn read_state(database: &Database, key: &str) -> Result<State, sqlx::Error> {
    let select = "SELECT COUNT(*), COALESCE(MAX(id), 0), CAST(COALESCE(SUM(version), 0) AS BIGINT) \
                  FROM lists WHERE username = $1";
    let row = sqlx::query(select).bind(key.to_owned()).fetch_one(database.reader()).await?;
    Ok(State { lists: row.try_get(0)?, last: row.try_get(1)?, versions: row.try_get(2)? })
}
