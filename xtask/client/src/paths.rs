//! Where a stack keeps its files: state, logs, data, and the folder of its sockets.
//!
//! The supervisor and its clients both ask here, so that they cannot disagree. What
//! depends on a shell that may differ from the supervisor's (where sockets may lie)
//! is not computed twice: the supervisor writes it down as its [`Endpoint`].

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

/// The variable that names the folder of all state; an absolute path.
pub const STATE_VARIABLE: &str = "XTASK_STATE_DIR";

/// The stack that people use; any other one is apart from it.
pub const DEFAULT_STACK: &str = "dev";

/// The longest folder that leaves room for a socket's name: the system allows 108
/// bytes for the whole path of a Unix socket.
const LONGEST_RUNTIME_FOLDER_BYTES: usize = 70;

/// The folder of one stack, and what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackPaths {
    folder: PathBuf,
}

/// Where a running supervisor is found; written to [`StackPaths::endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The supervisor's process.
    pub pid: u32,
    /// Its control socket.
    pub socket: PathBuf,
}

impl StackPaths {
    /// The paths of the stack of that name of the workspace at `root`, for this
    /// process' environment. Nothing is created.
    ///
    /// # Errors
    /// When neither `XTASK_STATE_DIR`, `XDG_STATE_HOME` nor `HOME` is set, the first is a
    /// relative path, or the folder is not UTF-8.
    pub fn of(root: &Path, stack: &str) -> io::Result<Self> {
        Self::with_environment(root, stack, |name| std::env::var_os(name))
    }

    /// As [`StackPaths::of`], for any environment.
    ///
    /// # Errors
    /// As for [`StackPaths::of`].
    pub fn with_environment(
        root: &Path,
        stack: &str,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> io::Result<Self> {
        if let Some(given) = variable(STATE_VARIABLE).filter(|given| is_relative(given)) {
            // Each folder would have its own stacks, and `down` would not find them.
            let given = given.display();
            let what = format!("`{STATE_VARIABLE}` is `{given}`, which is not an absolute path");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute(STATE_VARIABLE)
            .or_else(|| absolute("XDG_STATE_HOME").map(|path| path.join("xtask")))
            .or_else(|| absolute("HOME").map(|path| path.join(".local/state/xtask")))
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "no place for state: set `XTASK_STATE_DIR`, as none of it, `XDG_STATE_HOME` and \
                     `HOME` is an absolute path",
                )
            })?;
        let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        // The mark of the stack comes from it: it must not depend on how it was spelled.
        let state = real(&state);
        if state.to_str().is_none() {
            // Plans are text, and would name another folder.
            let what = format!("the folder for state, `{}`, is not UTF-8", state.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let folder = state.join(workspace_folder(&root)).join(stack);
        Ok(Self { folder })
    }

    /// The paths of the stack whose folder this is.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder of the stack.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The stack's name.
    #[must_use]
    pub fn stack(&self) -> String {
        self.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// What the services keep; survives everything but `down --data`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The folder of the logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The log of a service. The one before the last rotation has `.1` appended.
    #[must_use]
    pub fn log(&self, service: &str) -> PathBuf {
        self.logs().join(format!("{service}.log"))
    }

    /// What the supervisor itself says.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.folder.join("supervisor.log")
    }

    /// Locked by supervisor and guardian as long as one of them lives.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Locked by a client while it finds or starts the supervisor.
    #[must_use]
    pub fn launch_lock(&self) -> PathBuf {
        self.folder.join("launch.lock")
    }

    /// Where the [`Endpoint`] of the running supervisor is written.
    #[must_use]
    pub fn endpoint(&self) -> PathBuf {
        self.folder.join("supervisor.json")
    }

    /// What the [`Endpoint`] becomes when its supervisor died without cleaning up and
    /// somebody else did that.
    #[must_use]
    pub fn obituary(&self) -> PathBuf {
        self.folder.join("died.json")
    }

    /// Says that the stack has something in a container engine, and in which.
    #[must_use]
    pub fn engine_record(&self) -> PathBuf {
        self.folder.join("engine.json")
    }

    /// A short text that differs between stacks and stays the same for one.
    #[must_use]
    pub fn short_name(&self) -> String {
        short_hash(self.folder.as_os_str().as_encoded_bytes())
    }

    /// Makes the stack's folder and those of its data and logs, readable for their owner
    /// only: whoever is given `${stack.data}` may write there at once. A stack's folder that
    /// others may read is closed.
    ///
    /// # Errors
    /// What the system says, or when it is a folder where somebody else may write: of such a
    /// one everything could be replaced.
    pub fn create(&self) -> io::Result<()> {
        create_private(&self.folder)?;
        for folder in self.folder.ancestors().take(2) {
            let found = std::fs::metadata(folder)?;
            if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
                let shown = folder.display();
                let what = format!("`{shown}` is not a folder where only this user may write");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
            }
        }
        if std::fs::metadata(&self.folder)?.mode() & 0o077 != 0 {
            std::fs::set_permissions(&self.folder, Permissions::from_mode(0o700))?;
        }
        create_private(&self.data())?;
        create_private(&self.logs())
    }

    /// Makes the folder for this stack's sockets, mode 0700 and owned by this user,
    /// and returns it. It is in `XDG_RUNTIME_DIR` if that serves and is this user's, else
    /// in a folder of our own in the temporary folder.
    ///
    /// # Errors
    /// When no folder could be made, or somebody else owns what stands in its place.
    pub fn create_runtime(&self) -> io::Result<PathBuf> {
        let own = format!("xtask-{}", geteuid().as_raw());
        let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let given = given.filter(|path| path.is_absolute() && is_ours(path));
        let candidates = [
            given.map(|path| path.join("xtask")),
            Some(std::env::temp_dir().join(&own)),
            Some(Path::new("/tmp").join(&own)),
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
            match private(&parent).and_then(|()| private(&folder)) {
                Ok(()) => return Ok(folder),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Where the running supervisor said that it is found, if one ever did. It may
    /// be gone since.
    #[must_use]
    pub fn read_endpoint(&self) -> Option<Endpoint> {
        serde_json::from_slice(&std::fs::read(self.endpoint()).ok()?).ok()
    }
}

/// The stacks of a workspace that have a folder, by name.
///
/// # Errors
/// As for [`StackPaths::of`].
pub fn stacks_of(root: &Path) -> io::Result<Vec<StackPaths>> {
    let any = StackPaths::of(root, "any")?;
    let Some(parent) = any.folder.parent() else { return Ok(Vec::new()) };
    let Ok(entries) = std::fs::read_dir(parent) else { return Ok(Vec::new()) };
    let mut stacks: Vec<_> = entries
        .flatten()
        .map(|entry| StackPaths::at(entry.path()))
        .filter(|paths| paths.lock().exists())
        .collect();
    stacks.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(stacks)
}

/// Whether a text can be the name of a stack: it becomes the name of a folder.
///
/// # Errors
/// One line that says what is wrong with it.
pub fn check_stack_name(text: &str) -> Result<(), &'static str> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if text.is_empty() || text.len() > 64 {
        Err("a stack's name has 1 to 64 characters")
    } else if !letters || text.starts_with(['.', '-']) {
        Err("a stack's name is made of letters, digits, `-`, `_` and `.`, and starts with a \
             letter or digit")
    } else {
        Ok(())
    }
}

/// The path without links in it, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    match there.map(|(there, real)| path.strip_prefix(there).map(|rest| real.join(rest))) {
        Some(Ok(real)) => real.components().collect(),
        Some(Err(_)) | None => path.to_path_buf(),
    }
}

fn is_relative(path: &OsStr) -> bool {
    !path.is_empty() && Path::new(path).is_relative()
}

/// A short name that tells a workspace from any other on this machine: its folder's name
/// and a hash of its path.
#[must_use]
pub fn workspace_name(root: &Path) -> String {
    workspace_folder(&root.canonicalize().unwrap_or_else(|_| root.to_path_buf()))
}

fn workspace_folder(root: &Path) -> String {
    let name: String = root
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .take(40)
        .collect();
    let name = if name.is_empty() { "root" } else { &name };
    format!("{name}-{}", short_hash(root.as_os_str().as_encoded_bytes()))
}

/// FNV-1a of 64 bits: the same in every build of the tool, which the standard
/// library's hashers do not promise.
fn short_hash(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:012x}", hash & 0xffff_ffff_ffff)
}

fn create_private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Whether a folder is this user's: in that of somebody else ours could be replaced.
fn is_ours(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|found| found.uid() == geteuid().as_raw())
}

/// Makes one private folder, or checks that what stands there is one of ours.
fn private(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let found = std::fs::symlink_metadata(folder)?;
    let ours = found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0;
    if ours {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "`{}` is not a folder that only this user may enter; `XDG_RUNTIME_DIR` can name \
                 another place",
                folder.display()
            ),
        ))
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
    fn the_state_folder_is_chosen_by_the_most_special_variable() {
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
    fn a_state_folder_has_one_name_however_it_is_spelled_and_before_it_is_there() {
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
    fn a_relative_state_folder_is_refused_instead_of_left_aside() {
        let error = of("dev", &[("HOME", "/h"), ("XTASK_STATE_DIR", "state")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`XTASK_STATE_DIR` is `state`, which is not an absolute path"
        );
        assert!(of("dev", &[("HOME", "/h"), ("XTASK_STATE_DIR", "")]).is_ok());
    }

    #[test]
    fn a_state_folder_that_is_no_text_is_refused_by_its_name() {
        let folder: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"/s/caf\xe9");
        let root = Path::new("/no/where/shop");
        let error = StackPaths::with_environment(root, "dev", |name| {
            (name == STATE_VARIABLE).then(|| folder.to_owned())
        });
        let text = error.unwrap_err().to_string();
        assert_eq!(text, "the folder for state, `/s/caf\u{fffd}`, is not UTF-8");
    }

    /// Where several users share a folder for state, one may have been there first.
    #[test]
    fn a_stack_is_not_kept_where_others_may_write() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = folder.path().join("shop-1");
        let paths = StackPaths::at(workspace.join("dev"));
        paths.create().unwrap();
        let open = |path: &Path, mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(path, mode).unwrap();
        };
        for path in [&workspace, paths.folder()] {
            open(path, 0o777);
            assert!(paths.create().unwrap_err().to_string().contains("only this user"));
            open(path, 0o755);
            paths.create().unwrap();
        }
        if geteuid().is_root() {
            std::os::unix::fs::chown(&workspace, Some(65534), None).unwrap();
            assert!(paths.create().is_err());
        } else {
            crate::harness::skipped("root");
        }
    }

    #[test]
    fn a_workspace_folder_shows_its_name_and_differs_by_path() {
        let shop = workspace_folder(Path::new("/a/shop"));
        assert!(shop.starts_with("shop-"), "{shop}");
        assert_ne!(shop, workspace_folder(Path::new("/b/shop")));
        assert_eq!(shop, workspace_folder(Path::new("/a/shop")));
        assert!(workspace_folder(Path::new("/a/b c")).starts_with("b_c-"));
    }

    #[test]
    fn nobody_else_may_enter_a_stacks_folder_even_if_it_was_open_before() {
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
    fn sockets_of_a_deep_stack_still_have_a_short_path() {
        let paths = StackPaths::at(format!("/{}/dev", "deep/".repeat(60)));
        let runtime = paths.create_runtime().unwrap();
        assert!(runtime.as_os_str().len() <= LONGEST_RUNTIME_FOLDER_BYTES, "{runtime:?}");
        assert_eq!(std::fs::metadata(&runtime).unwrap().mode() & 0o777, 0o700);
        std::fs::remove_dir(runtime).unwrap();
    }

    /// Whoever else can write to the temporary folder may have been there first.
    #[test]
    fn a_folder_of_somebody_else_or_a_link_is_not_taken_for_ours() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at("/no/where/dev");
        let create = |parent: &Path| paths.create_runtime_in([parent.to_path_buf()].into_iter());
        let (elsewhere, link) = (folder.path().join("elsewhere"), folder.path().join("link"));
        private(&elsewhere).unwrap();
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
            private(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(65534), None).unwrap();
            assert!(create(&foreign).is_err() && !is_ours(&foreign));
        } else {
            crate::harness::skipped("root");
        }
        // Ours has the stack's own folder in it, where a link is no better.
        let own = folder.path().join("own");
        private(&own).unwrap();
        std::os::unix::fs::symlink(&elsewhere, own.join(paths.short_name())).unwrap();
        assert!(create(&own).is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[test]
    fn a_stack_name_is_a_plain_folder_name() {
        for good in ["dev", "e2e-1", "a.b_c"] {
            assert!(check_stack_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "-x", "ä", &"x".repeat(65)] {
            assert!(check_stack_name(bad).is_err(), "{bad}");
        }
    }
}
