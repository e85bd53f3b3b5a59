//! Collects file events until they pause, so that one save, one `cargo fmt` or one branch switch is
//! one set of changes.
//!
//! Each folder is watched by itself: a recursive watch would also cover target directories, whose
//! events during a build outnumber those of the user. notify's debouncers wake up many times a
//! second for as long as they exist, so the pause is awaited here, and an idle watcher sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout_at};

use super::polling::{self, Polling};
use super::sources::Change;
use super::tree::Tree;

/// Events that follow each other within this time belong together. Editors save within a
/// millisecond.
const PAUSE: Duration = Duration::from_millis(15);

/// Events that do not pause are handed over after this time.
const LONGEST: Duration = Duration::from_millis(300);

/// How long a git command that holds the index is waited for. A branch switch is one change.
const GIT_PATIENCE: Duration = Duration::from_secs(10);

/// The file with which git holds the index.
const INDEX_LOCK: &str = "index.lock";

/// A set of changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) files: BTreeMap<PathBuf, Change>,
    /// Whether events were lost, so that any file may have changed.
    pub(crate) lost: bool,
}

pub(crate) struct Events {
    tree: Tree,
    backend: Backend,
    receiver: UnboundedReceiver<notify::Result<Event>>,
    /// Watched folders outside of the tree.
    others: BTreeSet<PathBuf>,
    /// The folder of the repository.
    git: Option<PathBuf>,
    /// Changed paths; true if the name itself is new or gone.
    pending: BTreeMap<PathBuf, bool>,
    lost: bool,
    first: Option<Instant>,
    last: Instant,
}

enum Backend {
    System(RecommendedWatcher),
    /// The system gives no more file events, for this reason.
    Polls(Polling, String),
}

impl Events {
    /// Watches the workspace at `root`, without the folders in which cargo builds. Every change
    /// from now on is found. Call this inside the runtime.
    pub(crate) fn new(root: &Path, outputs: &[PathBuf]) -> Self {
        let (sender, receiver) = unbounded_channel();
        let backend = match system(sender) {
            Ok(watcher) => Backend::System(watcher),
            Err(error) => Backend::Polls(Polling::default(), reason(&error)),
        };
        let mut events = Self {
            tree: Tree::new(root, outputs),
            backend,
            receiver,
            others: BTreeSet::new(),
            git: root.ancestors().map(|folder| folder.join(".git")).find(|git| git.is_dir()),
            pending: BTreeMap::new(),
            lost: false,
            first: None,
            last: Instant::now(),
        };
        let root = root.to_path_buf();
        events.walk(&root);
        events.add(events.git.clone().into_iter().collect());
        let settings = root.ancestors().map(|folder| folder.join(".cargo"));
        events.add(settings.filter(|folder| folder.is_dir()).collect());
        events.look();
        // Everything so far is the state to begin with.
        events.pending.clear();
        (events.first, events.lost) = (None, false);
        events
    }

    /// Why it polls, if it does.
    pub(crate) fn polls(&self) -> Option<&str> {
        match &self.backend {
            Backend::System(_) => None,
            Backend::Polls(_, reason) => Some(reason),
        }
    }

    /// Watches these folders too, without their subfolders.
    pub(crate) fn add(&mut self, folders: BTreeSet<PathBuf>) {
        let root = self.tree.root().to_path_buf();
        for folder in folders {
            let is_known = self.others.contains(&folder)
                || (folder.starts_with(&root) && self.tree.admits(&folder));
            if !is_known && folder.is_dir() {
                self.watch(&folder);
                self.others.insert(folder);
            }
        }
    }

    /// Waits for changes. Cancel safe.
    pub(crate) async fn next(&mut self) -> Changes {
        loop {
            let Some(first) = self.first else {
                let events = self.wait().await;
                self.take(events);
                continue;
            };
            let until = match self.is_git_busy() {
                true => first + GIT_PATIENCE,
                false => (self.last + PAUSE).min(first + LONGEST),
            };
            match timeout_at(until, self.wait()).await {
                Ok(events) => self.take(events),
                Err(_) => {
                    let changes = self.settle();
                    if !changes.files.is_empty() || changes.lost {
                        return changes;
                    }
                }
            }
        }
    }

    async fn wait(&mut self) -> Vec<notify::Result<Event>> {
        match &mut self.backend {
            Backend::System(_) => {
                let mut events = Vec::new();
                self.receiver.recv_many(&mut events, 1024).await;
                events
            }
            Backend::Polls(..) => {
                sleep(polling::EVERY).await;
                self.look();
                Vec::new()
            }
        }
    }

    /// Looks at all files if there are no events.
    fn look(&mut self) {
        let root = self.tree.root().to_path_buf();
        let Backend::Polls(polling, _) = &mut self.backend else { return };
        self.tree.walk(&root);
        let others = self.others.iter().filter(|folder| Some(*folder) != self.git.as_ref());
        let others: Vec<PathBuf> = others
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
            .collect();
        let changed = polling.look(self.tree.files().chain(&others));
        let now = Instant::now();
        for path in changed {
            self.pending.insert(path, true);
            self.first.get_or_insert(now);
            self.last = now;
        }
    }

    fn take(&mut self, events: Vec<notify::Result<Event>>) {
        for event in events {
            let now = Instant::now();
            let event = match event {
                Ok(event) if !event.need_rescan() => event,
                _ => {
                    self.lost = true;
                    self.first.get_or_insert(now);
                    continue;
                }
            };
            let renames = matches!(
                event.kind,
                EventKind::Create(_)
                    | EventKind::Remove(_)
                    | EventKind::Modify(ModifyKind::Name(_))
            );
            for path in event.paths {
                if self.git.as_ref().is_some_and(|git| path.starts_with(git)) {
                    if path.file_name().is_some_and(|name| name == INDEX_LOCK) {
                        self.last = now;
                    }
                    continue;
                }
                *self.pending.entry(path).or_default() |= renames;
                self.first.get_or_insert(now);
                self.last = now;
            }
        }
    }

    fn is_git_busy(&self) -> bool {
        self.git.as_ref().is_some_and(|git| git.join(INDEX_LOCK).exists())
    }

    /// Turns the collected paths into changes, and watches new folders.
    fn settle(&mut self) -> Changes {
        self.first = None;
        let mut changes = Changes { lost: std::mem::take(&mut self.lost), ..Changes::default() };
        let mut walks: BTreeSet<PathBuf> = BTreeSet::new();
        if changes.lost {
            walks.insert(self.tree.root().to_path_buf());
        }
        for (path, renames) in std::mem::take(&mut self.pending) {
            if path.is_dir() && !path.is_symlink() {
                // The folder may be another one than before, without a watch.
                if renames && self.tree.admits(&path) {
                    let gone = self.forget(&path);
                    changes.files.extend(gone);
                    walks.insert(path);
                }
            } else if path.symlink_metadata().is_err() {
                let gone = self.forget(&path);
                changes.files.extend(gone);
                // Its folder may have been forgotten before it.
                changes.files.entry(path).or_insert(Change::Ignored);
            } else {
                if path.file_name().is_some_and(|name| name == ".gitignore") {
                    walks.insert(path.parent().unwrap_or(&path).to_path_buf());
                }
                let change = match (self.tree.has_file(&path), self.tree.admits(&path)) {
                    (true, _) => Change::Written,
                    (false, true) => Change::Appeared,
                    (false, false) => Change::Ignored,
                };
                changes.files.insert(path, change);
            }
        }
        for folder in walks {
            for file in self.walk(&folder) {
                let change = match changes.files.get(&file) {
                    Some(Change::Gone | Change::Written) => Change::Written,
                    Some(Change::Appeared | Change::Ignored) | None => Change::Appeared,
                };
                changes.files.insert(file, change);
            }
        }
        changes
    }

    /// Forgets what was at and below a path.
    fn forget(&mut self, path: &Path) -> BTreeMap<PathBuf, Change> {
        let gone = self.tree.forget(path);
        if let Backend::System(watcher) = &mut self.backend {
            // The kernel has usually removed the watch already.
            for folder in &gone.folders {
                let _ = watcher.unwatch(folder);
            }
        }
        gone.files.into_iter().map(|file| (file, Change::Gone)).collect()
    }

    /// Adds what is below a folder, and watches it. Returns the new files.
    ///
    /// A file that appears between the walk and the watch is found by the next walk.
    fn walk(&mut self, from: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        loop {
            let found = self.tree.walk(from);
            files.extend(found.files);
            if found.folders.is_empty() {
                return files;
            }
            found.folders.iter().for_each(|folder| self.watch(folder));
        }
    }

    /// Watches a folder. If the system gives no more watches, it polls from now on.
    fn watch(&mut self, folder: &Path) {
        let Backend::System(watcher) = &mut self.backend else { return };
        let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) else { return };
        let is_limit = match &error.kind {
            notify::ErrorKind::MaxFilesWatch => true,
            notify::ErrorKind::Io(error) => {
                matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EMFILE | libc::ENOMEM))
            }
            _ => false,
        };
        // A folder that is gone again, or cannot be read, has no files to watch.
        if is_limit {
            let mut polling = Polling::default();
            polling.look(self.tree.files());
            self.backend = Backend::Polls(polling, reason(&error));
            // What changed meanwhile is unknown.
            self.lost = true;
            self.first.get_or_insert(Instant::now());
        }
    }

    #[cfg(test)]
    fn poll_from_now_on(&mut self) {
        let mut polling = Polling::default();
        polling.look(self.tree.files());
        self.backend = Backend::Polls(polling, "a test".to_owned());
    }
}

/// A watcher that sends the events of changed files.
fn system(sender: UnboundedSender<notify::Result<Event>>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        let counts = match &event {
            Ok(event) => {
                event.need_rescan()
                    || matches!(
                        event.kind,
                        EventKind::Create(_)
                            | EventKind::Remove(_)
                            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(_))
                            | EventKind::Modify(ModifyKind::Any)
                            | EventKind::Access(AccessKind::Close(AccessMode::Write))
                    )
            }
            Err(_) => true,
        };
        if counts {
            let _ = sender.send(event);
        }
    })
}

/// Why the system gives no file events.
fn reason(error: &notify::Error) -> String {
    let limit = |name: &str| {
        let number = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"));
        let number = number.map(|text| format!(" = {}", text.trim())).unwrap_or_default();
        format!("the limit `fs.inotify.{name}{number}` is used up")
    };
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => limit("max_user_watches"),
        notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            limit("max_user_instances")
        }
        _ => format!("the system gives no file events: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn workspace() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/src")).unwrap();
        fs::create_dir(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("a/src/main.rs"), "1").unwrap();
        folder
    }

    fn watched(folder: &tempfile::TempDir) -> Events {
        Events::new(folder.path(), &[folder.path().join("target")])
    }

    /// The changes up to the one of `last`.
    async fn until(events: &mut Events, last: &Path) -> BTreeMap<PathBuf, Change> {
        let mut all = BTreeMap::new();
        while !all.contains_key(last) {
            all.extend(timeout(PATIENCE, events.next()).await.unwrap().files);
        }
        all
    }

    async fn atomic_save_of_one_file(mut events: Events, folder: &tempfile::TempDir) {
        let main = folder.path().join("a/src/main.rs");
        let temporary = folder.path().join("a/src/.main.rs.swp");
        fs::write(folder.path().join("target/noise.rs"), "").unwrap();
        fs::write(&temporary, "two").unwrap();
        fs::rename(&temporary, &main).unwrap();
        let changed = until(&mut events, &main).await;
        assert_eq!(changed[&main], Change::Written);
        assert!(!changed.contains_key(&folder.path().join("target/noise.rs")), "{changed:?}");
        assert!(matches!(changed.get(&temporary), None | Some(Change::Ignored)), "{changed:?}");
    }

    #[tokio::test]
    async fn atomic_save_is_one_written_file() {
        let folder = workspace();
        atomic_save_of_one_file(watched(&folder), &folder).await;
    }

    #[tokio::test]
    async fn polling_finds_an_atomic_save_too() {
        let folder = workspace();
        let mut events = watched(&folder);
        events.poll_from_now_on();
        atomic_save_of_one_file(events, &folder).await;
    }

    #[tokio::test]
    async fn folder_that_comes_back_is_watched_again() {
        let folder = workspace();
        let mut events = watched(&folder);
        let (a, main) = (folder.path().join("a"), folder.path().join("a/src/main.rs"));
        fs::remove_dir_all(&a).unwrap();
        assert_eq!(until(&mut events, &main).await[&main], Change::Gone);
        fs::create_dir_all(a.join("src")).unwrap();
        fs::write(&main, "2").unwrap();
        assert_eq!(until(&mut events, &main).await[&main], Change::Appeared);
        fs::write(&main, "3").unwrap();
        assert_eq!(until(&mut events, &main).await[&main], Change::Written);
    }

    #[tokio::test]
    async fn files_of_a_moved_folder_appear_there() {
        let folder = workspace();
        let mut events = watched(&folder);
        fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        let [old, new] = ["a", "b"].map(|name| folder.path().join(name).join("src/main.rs"));
        let changed = until(&mut events, &new).await;
        assert_eq!((changed.get(&old), changed[&new]), (Some(&Change::Gone), Change::Appeared));
        fs::write(&new, "2").unwrap();
        assert_eq!(until(&mut events, &new).await[&new], Change::Written);
    }
}
