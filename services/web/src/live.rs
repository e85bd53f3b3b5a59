//! Tells the open windows of a person that something has changed.
//!
//! It covers the changes made through this process. A window asks again whenever its connection was
//! interrupted, so a restart of `web` loses nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The open windows, by username.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    people: Arc<Mutex<HashMap<String, watch::Sender<u64>>>>,
}

impl Live {
    /// A receiver that sees every change from now on. Changes in quick succession may be one.
    pub(crate) fn follow(&self, username: &str) -> watch::Receiver<u64> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        // People without a window leave no trace.
        people.retain(|_, sender| sender.receiver_count() > 0);
        people.entry(username.to_owned()).or_default().subscribe()
    }

    /// Tells the person's windows.
    pub(crate) fn changed(&self, username: &str) {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = people.get(username) {
            sender.send_modify(|version| *version += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn change_reaches_only_the_persons_windows() {
        let live = Live::default();
        let (mut ann, mut again) = (live.follow("ann"), live.follow("ann"));
        let bob = live.follow("bob");
        live.changed("ann");
        live.changed("carl");
        ann.changed().await.unwrap();
        again.changed().await.unwrap();
        assert!(!bob.has_changed().unwrap());
        drop((ann, again, bob));
        drop(live.follow("dora"));
        assert_eq!(live.people.lock().unwrap().len(), 1);
    }
}
