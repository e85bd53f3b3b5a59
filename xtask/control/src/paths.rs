//! The paths of a stack's files: state, logs, data, and the folder of its sockets.
//!
//! The supervisor and its clients both use these functions. The path of the control socket depends
//! on the supervisor's environment, so clients read it from the [`Endpoint`] that the supervisor
//! wrote.

use std::ffi::OsString;
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::names::{short_hash, workspace_name};
use crate::owners::{
    check_owners, foreign_link, is_own_folder, is_written_by_owner_only, stays_in_place,
};
use crate::private_folder::{create_or_check, create_private};

/// The variable with the folder of all state, an absolute path.
pub const STATE_VARIABLE: &str = "XTASK_STATE_DIR";

/// The name of the stack that commands use by default.
pub const DEFAULT_STACK: &str = "dev";

/// The longest path of a folder for sockets, in bytes: the path of a Unix socket has at most 108.
const LONGEST_RUNTIME_FOLDER_BYTES: usize = 70;

/// The folder of one stack, and the paths in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackPaths {
    folder: PathBuf,
}

/// How to reach a running supervisor; the content of [`StackPaths::endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The supervisor's pid.
    pub pid: u32,
    /// The path of its control socket.
    pub socket: PathBuf,
}

impl StackPaths {
    /// The paths of the stack `stack` of the workspace at `root`, by this process' environment.
    /// Nothing is created.
    ///
    /// # Errors
    /// When none of `XTASK_STATE_DIR`, `XDG_STATE_HOME` and `HOME` is set, when `XTASK_STATE_DIR`
    /// is a relative path, when the folder is not UTF-8, or when another user could write to it.
    pub fn of(root: &Path, stack: &str) -> io::Result<Self> {
        Self::with_environment(root, stack, |name| std::env::var_os(name))
    }

    /// Like [`StackPaths::of`], with the given environment.
    pub fn with_environment(
        root: &Path,
        stack: &str,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> io::Result<Self> {
        let state = state_folder_of(variable)?;
        let this = Self { folder: state.join(workspace_name(root)).join(stack) };
        check_owners(&this)?;
        Ok(this)
    }

    /// The paths of the stack in `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The stack's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the stacks of the same workspace.
    pub fn workspace(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// The stack's name.
    pub fn stack(&self) -> String {
        self.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The folder of the services' data; only `down --data` deletes it.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The folder of the services' logs.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The log of a service. A rotated file has a number appended, such as `.1`.
    pub fn log(&self, service: &str) -> PathBuf {
        self.logs().join(format!("{service}.log"))
    }

    /// The supervisor's own log.
    pub fn supervisor_log(&self) -> PathBuf {
        self.folder.join("supervisor.log")
    }

    /// A lock that supervisor and guardian hold until both have exited.
    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Whether a process holds the stack's lock: its supervisor, guardian or sweeper runs.
    pub fn is_locked(&self) -> bool {
        let lock = File::open(self.lock()).map(|lock| lock.try_lock_shared());
        matches!(lock, Ok(Err(TryLockError::WouldBlock)))
    }

    /// A lock that a client holds while it finds or starts the supervisor.
    pub fn launch_lock(&self) -> PathBuf {
        self.folder.join("launch.lock")
    }

    /// The file with the [`Endpoint`] of the running supervisor.
    pub fn endpoint(&self) -> PathBuf {
        self.folder.join("supervisor.json")
    }

    /// The file with the [`Endpoint`] of a supervisor that died, after another process has cleaned
    /// up for it.
    pub fn died_endpoint(&self) -> PathBuf {
        self.folder.join("died.json")
    }

    /// The file that records which container engine has objects of the stack.
    pub fn engine_record(&self) -> PathBuf {
        self.folder.join("engine.json")
    }

    /// The file with the times of the last starts.
    pub fn starts(&self) -> PathBuf {
        self.folder.join("starts.json")
    }

    /// The file with the marks of the stack's supervisors, which are secrets of this user.
    pub fn marks(&self) -> PathBuf {
        self.folder.join("marks.json")
    }

    /// A short hash that identifies the stack on this machine. It is no secret.
    pub fn short_name(&self) -> String {
        short_hash(&self.folder)
    }

    /// Creates the stack's folder with its data and logs, with access for this user only. An
    /// existing folder of the stack that others can read gets mode 0700.
    ///
    /// # Errors
    /// When another user can write to the folder or its parent, and so could replace its files, or
    /// when the system fails.
    pub fn create(&self) -> io::Result<()> {
        // Another command may remove the empty folder of the workspace at this moment.
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        create_private(&self.folder).or_else(|error| {
            if is_missing(&error) { create_private(&self.folder) } else { Err(error) }
        })?;
        for folder in self.folder.ancestors().take(2) {
            if !is_written_by_owner_only(folder)? {
                let shown = folder.display();
                let text = format!("`{shown}` is not a folder that only this user can write to");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        }
        // Another user may have created a folder on the way after the first check.
        check_owners(self)?;
        // The group of an account may pass, to the folder of its service.
        if std::fs::metadata(&self.folder)?.mode() & 0o067 != 0 {
            std::fs::set_permissions(&self.folder, Permissions::from_mode(0o700))?;
        }
        create_private(&self.data())?;
        create_private(&self.logs())
    }

    /// Creates the folder for this stack's sockets, with mode 0700, and returns it. It is in
    /// `XDG_RUNTIME_DIR` if only this user can write to that folder, else in this user's folder in
    /// the temporary folder.
    ///
    /// # Errors
    /// When no folder can be created, or another user owns the file in its place.
    pub fn create_runtime(&self) -> io::Result<PathBuf> {
        let folder = format!("xtask-{}", geteuid().as_raw());
        let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let given = given
            .filter(|path| path.is_absolute() && is_written_by_owner_only(path).unwrap_or(false));
        let candidates = [
            given.map(|path| path.join("xtask")),
            Some(std::env::temp_dir().join(&folder)),
            Some(Path::new("/tmp").join(&folder)),
        ];
        self.create_runtime_in(candidates.into_iter().flatten())
    }

    fn create_runtime_in(&self, parents: impl Iterator<Item = PathBuf>) -> io::Result<PathBuf> {
        let mut failure = io::Error::other("no folder with a short enough path for sockets");
        for parent in parents {
            let folder = parent.join(self.short_name());
            if folder.as_os_str().len() > LONGEST_RUNTIME_FOLDER_BYTES {
                continue;
            }
            if !stays_in_place(&parent) {
                let text = format!(
                    "another user can replace `{}`; set `XDG_RUNTIME_DIR` to use another folder",
                    parent.display()
                );
                failure = io::Error::new(io::ErrorKind::PermissionDenied, text);
                continue;
            }
            match create_or_check(&parent).and_then(|()| create_or_check(&folder)) {
                Ok(()) => return Ok(folder),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The endpoint of the last supervisor, which may have exited.
    pub fn read_endpoint(&self) -> Option<Endpoint> {
        serde_json::from_slice(&std::fs::read(self.endpoint()).ok()?).ok()
    }
}

/// The stacks in the folder of a workspace's state that have a lock, sorted by name. A folder in
/// which another user can write is no stack.
pub fn stacks_in(workspace: &Path) -> Vec<StackPaths> {
    let Ok(entries) = std::fs::read_dir(workspace) else { return Vec::new() };
    let stacks = entries.flatten().map(|entry| StackPaths::at(entry.path()));
    let stacks = stacks.filter(|paths| is_own_folder(paths.folder()));
    let mut stacks: Vec<_> = stacks.filter(|paths| paths.lock().exists()).collect();
    stacks.sort_by(|a, b| a.folder.cmp(&b.folder));
    stacks
}

/// The folder of all state, by this process' environment. The errors are those of
/// [`StackPaths::of`].
pub fn state_folder() -> io::Result<PathBuf> {
    state_folder_of(|name| std::env::var_os(name))
}

fn state_folder_of(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<PathBuf> {
    let given = variable(STATE_VARIABLE).filter(|given| !given.is_empty());
    if let Some(given) = given.filter(|given| Path::new(given).is_relative()) {
        // Each current folder would have its own stacks, and `down` would not find them.
        let given = given.display();
        let text = format!("`{STATE_VARIABLE}` is `{given}`, which is not an absolute path");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute(STATE_VARIABLE)
        .or_else(|| absolute("XDG_STATE_HOME").map(|path| path.join("xtask")))
        .or_else(|| absolute("HOME").map(|path| path.join(".local/state/xtask")))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "failed to find a folder for state: set `XTASK_STATE_DIR`, `XDG_STATE_HOME` or \
                 `HOME` to an absolute path",
            )
        })?;
    if let Some(link) = foreign_link(&state) {
        let text = format!("`{}` is a link of another user", link.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    // The hash of this path identifies the stack, so its spelling must not matter.
    let state = real(&state);
    if state.to_str().is_none() {
        // Plans are UTF-8 and cannot contain the path.
        let text = format!("the folder for state, `{}`, is not UTF-8", state.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(state)
}

/// The path with symbolic links resolved in the part that exists.
fn real(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|parent| Some((parent, parent.canonicalize().ok()?)));
    match existing.map(|(parent, real)| path.strip_prefix(parent).map(|rest| real.join(rest))) {
        Some(Ok(real)) => real.components().collect(),
        Some(Err(_)) | None => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stack: &str, set: &[(&str, &str)]) -> io::Result<StackPaths> {
        StackPaths::with_environment(Path::new("/no/where/shop"), stack, |name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn most_specific_variable_sets_the_state_folder() {
        let all = [("HOME", "/h"), ("XDG_STATE_HOME", "/x"), ("XTASK_STATE_DIR", "/s")];
        let parent = |set: &[_]| {
            let paths = of("dev", set).unwrap();
            paths.folder().parent().unwrap().parent().unwrap().to_path_buf()
        };
        assert_eq!(parent(&all), Path::new("/s"));
        assert_eq!(parent(&all[..2]), Path::new("/x/xtask"));
        assert_eq!(parent(&all[..1]), Path::new("/h/.local/state/xtask"));
        assert!(of("dev", &[]).is_err());
        assert!(of("dev", &[("HOME", "relative")]).is_err());
    }

    #[test]
    fn spelling_of_the_state_folder_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        std::os::unix::fs::symlink(base.join("real"), base.join("link")).unwrap();
        let at =
            |state: PathBuf| of("dev", &[("XTASK_STATE_DIR", state.to_str().unwrap())]).unwrap();
        let before = at(base.join("link/state"));
        assert_eq!(before, at(base.join("real/state/")));
        before.create().unwrap();
        assert_eq!(before, at(base.join("link/../link//state")));
    }

    #[test]
    fn relative_state_folder_is_rejected() {
        let error = of("dev", &[("HOME", "/h"), ("XTASK_STATE_DIR", "state")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`XTASK_STATE_DIR` is `state`, which is not an absolute path"
        );
        assert!(of("dev", &[("HOME", "/h"), ("XTASK_STATE_DIR", "")]).is_ok());
    }

    #[test]
    fn state_folder_must_be_utf8() {
        let folder: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"/s/caf\xe9");
        let root = Path::new("/no/where/shop");
        let error = StackPaths::with_environment(root, "dev", |name| {
            (name == STATE_VARIABLE).then(|| folder.to_owned())
        });
        let text = error.unwrap_err().to_string();
        assert_eq!(text, "the folder for state, `/s/caf\u{fffd}`, is not UTF-8");
    }

    /// Another user of a shared folder for state may have created the folder first.
    #[test]
    fn create_rejects_folders_that_others_can_write() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = folder.path().join("shop-1");
        let paths = StackPaths::at(workspace.join("dev"));
        paths.create().unwrap();
        let set_mode = |path: &Path, mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(path, mode).unwrap();
        };
        for path in [&workspace, paths.folder()] {
            set_mode(path, 0o777);
            assert!(paths.create().unwrap_err().to_string().contains("only this user"));
            set_mode(path, 0o755);
            paths.create().unwrap();
        }
        if geteuid().is_root() {
            std::os::unix::fs::chown(&workspace, Some(65534), None).unwrap();
            assert!(paths.create().is_err());
        } else {
            xtask_client::harness::skipped("root");
        }
    }

    #[test]
    fn create_closes_an_existing_folder() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at(folder.path().join("dev"));
        std::fs::create_dir(paths.folder()).unwrap();
        std::fs::set_permissions(paths.folder(), Permissions::from_mode(0o755)).unwrap();
        paths.create().unwrap();
        for folder in [paths.folder(), &paths.data(), &paths.logs()] {
            assert_eq!(std::fs::metadata(folder).unwrap().mode() & 0o777, 0o700, "{folder:?}");
        }
    }

    #[test]
    fn deep_stack_has_a_short_socket_path() {
        let paths = StackPaths::at(format!("/{}/dev", "deep/".repeat(60)));
        let runtime = paths.create_runtime().unwrap();
        assert!(runtime.as_os_str().len() <= LONGEST_RUNTIME_FOLDER_BYTES, "{runtime:?}");
        assert_eq!(std::fs::metadata(&runtime).unwrap().mode() & 0o777, 0o700);
        std::fs::remove_dir(runtime).unwrap();
    }

    /// Another user of the temporary folder may have created the folder first.
    #[test]
    fn foreign_folders_and_links_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at("/no/where/dev");
        let create = |parent: &Path| paths.create_runtime_in([parent.to_path_buf()].into_iter());
        let (elsewhere, link) = (folder.path().join("elsewhere"), folder.path().join("link"));
        create_or_check(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        assert!(create(&link).unwrap_err().to_string().contains("only this user"));
        let open = folder.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        assert!(create(&open).is_err());
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(create(&folder.path().join("file")).is_err());
        if geteuid().is_root() {
            let foreign = folder.path().join("foreign");
            create_or_check(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(65534), None).unwrap();
            assert!(create(&foreign).is_err() && !is_written_by_owner_only(&foreign).unwrap());
            std::os::unix::fs::chown(&foreign, Some(0), None).unwrap();
            std::fs::set_permissions(&foreign, Permissions::from_mode(0o777)).unwrap();
            assert!(!is_written_by_owner_only(&foreign).unwrap());
        } else {
            xtask_client::harness::skipped("root");
        }
        // Another user could move the folder away.
        let shared = folder.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
        let error = create(&shared.join("own")).unwrap_err();
        assert!(error.to_string().contains("another user can replace"), "{error}");
        // A link is rejected in the inner folder, too.
        let own = folder.path().join("own");
        create_or_check(&own).unwrap();
        std::os::unix::fs::symlink(&elsewhere, own.join(paths.short_name())).unwrap();
        assert!(create(&own).is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    }
}
