//! The base environment of children: that of the supervisor, without what cargo or an outer
//! supervisor set for the tool.
//!
//! It is read once. Each command adds the variables of its plan.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use xtask_client::inherited::{is_cargo_variable, is_service_manager_variable};
use xtask_core::stack::Command;

use crate::system::sweep::MARK;

/// Search paths of the dynamic loader that cargo extends for what it runs.
const LOADER_PATHS: [&str; 3] =
    ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// The base environment.
#[derive(Debug)]
pub(crate) struct Environment {
    base: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process, cleaned, with `mark`.
    pub(crate) fn of_this_process(mark: &str) -> Self {
        let program = std::env::current_exe().unwrap_or_default();
        Self::from_variables(std::env::vars_os(), &program, mark)
    }

    /// `variables` without those that were set for `program`.
    fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        program: &Path,
        mark: &str,
    ) -> Self {
        let mut base = BTreeMap::new();
        let variables: BTreeMap<OsString, OsString> = variables.into_iter().collect();
        let rustup = variables.get(OsStr::new("RUSTUP_HOME")).map(PathBuf::from);
        for (name, value) in variables {
            if LOADER_PATHS.iter().any(|path| name == *path) {
                if let Some(value) = without_cargo_folders(&value, program, rustup.as_deref()) {
                    base.insert(name, value);
                }
            } else if !is_for_the_tool(&name) {
                base.insert(name, value);
            }
        }
        base.insert(MARK.into(), mark.into());
        Self { base }
    }

    /// The value that a command inherits, unless it sets its own.
    pub(crate) fn inherited(&self, name: &str) -> Option<&OsStr> {
        self.base.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value that a command sees.
    pub(crate) fn get<'a>(&'a self, command: &'a Command, name: &str) -> Option<&'a OsStr> {
        let set = command.env.iter().rev().find(|(set, _)| set == name);
        match set {
            Some((_, value)) => Some(OsStr::new(value)),
            None => self.inherited(name),
        }
    }

    /// The environment of one run with this `NOTIFY_SOCKET`, without the variables that hold its
    /// pid. Values with a NUL byte cannot be set, and are left out.
    pub(crate) fn of(&self, command: &Command, notify: Option<&Path>) -> Vec<CString> {
        let mut all: BTreeMap<&OsStr, &OsStr> =
            self.base.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())).collect();
        for (name, value) in &command.env {
            all.insert(OsStr::new(name), OsStr::new(value));
        }
        let watchdog = command.watchdog_us.map(|us| us.to_string());
        let sockets = command.sockets.len().to_string();
        let names = command.sockets.join(":");
        if let Some(path) = notify {
            all.insert(OsStr::new("NOTIFY_SOCKET"), path.as_os_str());
        }
        if let Some(watchdog) = &watchdog {
            all.insert(OsStr::new("WATCHDOG_USEC"), OsStr::new(watchdog));
        }
        if !command.sockets.is_empty() {
            all.insert(OsStr::new("LISTEN_FDS"), OsStr::new(&sockets));
            all.insert(OsStr::new("LISTEN_FDNAMES"), OsStr::new(&names));
        }
        all.into_iter()
            .filter_map(|(name, value)| {
                let mut entry = name.as_bytes().to_vec();
                entry.push(b'=');
                entry.extend_from_slice(value.as_bytes());
                CString::new(entry).ok()
            })
            .collect()
    }
}

/// Whether a variable describes the process of the tool, so that a child would misunderstand it.
fn is_for_the_tool(name: &OsStr) -> bool {
    // A shell records in `PWD` and `OLDPWD` folders that the child does not start in.
    name.to_str().is_some_and(|name| {
        matches!(name, "PWD" | "OLDPWD" | MARK)
            || is_cargo_variable(name)
            || is_service_manager_variable(name)
    })
}

/// `value` without the folders that cargo and rustup add; none if no folder is left.
fn without_cargo_folders(value: &OsStr, program: &Path, rustup: Option<&Path>) -> Option<OsString> {
    let target = program.parent();
    let kept: Vec<PathBuf> = std::env::split_paths(value)
        .filter(|folder| !folder.as_os_str().is_empty())
        .filter(|folder| {
            let of_target = target.is_some_and(|target| folder.starts_with(target));
            let parts: Vec<&OsStr> = folder.components().map(|part| part.as_os_str()).collect();
            let of_toolchain = parts.iter().any(|part| *part == "rustlib")
                || parts.windows(2).any(|two| two[0] == ".rustup" && two[1] == "toolchains")
                || rustup.is_some_and(|rustup| folder.starts_with(rustup));
            !of_target && !of_toolchain
        })
        .collect();
    if kept.is_empty() {
        return None;
    }
    std::env::join_paths(kept).ok().map(|joined| OsString::from_vec(joined.into_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Environment::from_variables(pairs, Path::new("/w/target/debug/tool"), "m")
    }

    fn rendered(environment: &Environment, command: &Command) -> Vec<String> {
        environment
            .of(command, None)
            .into_iter()
            .map(|entry| entry.into_string().unwrap())
            .collect()
    }

    #[test]
    fn base_drops_variables_of_cargo_and_supervisors() {
        let environment = environment(&[
            ("CARGO", "/c"),
            ("CARGO_PKG_NAME", "xtask"),
            ("CARGO_HOME", "/home/.cargo"),
            ("RUSTUP_TOOLCHAIN", "stable"),
            ("LISTEN_PID", "1"),
            ("NOTIFY_SOCKET", "/n"),
            ("XTASK_MARK", "outer"),
            ("HOME", "/home"),
            ("LISTEN_ADDR", "1"),
            ("XTASK_OWN", "1"),
        ]);
        assert_eq!(
            rendered(&environment, &crate::effects::tests::command("x", &[])),
            [
                "CARGO_HOME=/home/.cargo",
                "HOME=/home",
                "LISTEN_ADDR=1",
                "RUSTUP_TOOLCHAIN=stable",
                "XTASK_MARK=m",
                "XTASK_OWN=1",
            ]
        );
    }

    #[test]
    fn loader_path_loses_only_cargo_folders() {
        let added =
            "/w/target/debug/deps:/w/target/debug:/r/lib/rustlib/x/lib:/h/.rustup/toolchains/x/lib";
        let cleaned = environment(&[("LD_LIBRARY_PATH", added)]);
        assert!(!cleaned.base.contains_key(OsStr::new("LD_LIBRARY_PATH")));
        let own = environment(&[("LD_LIBRARY_PATH", &format!("{added}:/opt/toolchains/lib"))]);
        assert_eq!(own.base[OsStr::new("LD_LIBRARY_PATH")], OsStr::new("/opt/toolchains/lib"));
    }

    #[test]
    fn command_variables_override_the_base() {
        let mut command = crate::effects::tests::command("x", &[]);
        command.env = vec![("HOME".into(), "/elsewhere".into())];
        command.sockets = vec!["http".into(), "metrics".into()];
        let all = rendered(&environment(&[("HOME", "/home")]), &command);
        assert!(all.contains(&"HOME=/elsewhere".to_owned()), "{all:?}");
        assert!(all.contains(&"LISTEN_FDS=2".to_owned()), "{all:?}");
        assert!(all.contains(&"LISTEN_FDNAMES=http:metrics".to_owned()), "{all:?}");
    }
}
