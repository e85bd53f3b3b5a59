//! The base environment of children: that of the supervisor, without what cargo or an outer
//! supervisor set for the tool.
//!
//! It is read once. Each command adds the variables of its plan.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use xtask_client::inherited::{is_cargo_variable, is_service_manager_variable};
use xtask_core::stack::Command;

use crate::system::sweep::MARK;

/// Search paths of the dynamic loader that cargo extends for what it runs.
const LOADER_PATHS: [&str; 3] =
    ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

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

    pub(crate) fn get<'a>(&'a self, command: &'a Command, name: &str) -> Option<&'a OsStr> {
        let set = command.env.iter().rev().find(|(set, _)| set == name);
        set.map(|(_, value)| OsStr::new(value)).or_else(|| self.inherited(name))
    }

    /// The environment of one run with this `NOTIFY_SOCKET`, without the variables that hold its
    /// pid. Values with a NUL byte cannot be set, and are left out.
    pub(crate) fn of(&self, command: &Command, notify: Option<&Path>) -> Vec<CString> {
        let mut all = self.base.clone();
        let mut set = |name: &str, value: OsString| drop(all.insert(name.into(), value));
        for (name, value) in &command.env {
            set(name, value.into());
        }
        if let Some(path) = notify {
            set("NOTIFY_SOCKET", path.into());
        }
        if let Some(every) = command.watchdog_us {
            set("WATCHDOG_USEC", every.to_string().into());
        }
        if !command.sockets.is_empty() {
            set("LISTEN_FDS", command.sockets.len().to_string().into());
            set("LISTEN_FDNAMES", command.sockets.join(":").into());
        }
        let entry =
            |name: &OsStr, value: &OsStr| [name.as_bytes(), b"=", value.as_bytes()].concat();
        all.iter().filter_map(|(name, value)| CString::new(entry(name, value)).ok()).collect()
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
    let kept: Vec<PathBuf> = std::env::split_paths(value)
        .filter(|folder| {
            let is_below =
                |other: Option<&Path>| other.is_some_and(|path| folder.starts_with(path));
            let parts: Vec<&OsStr> = folder.components().map(|part| part.as_os_str()).collect();
            let of_toolchain = parts.iter().any(|part| *part == "rustlib")
                || parts.windows(2).any(|two| two[0] == ".rustup" && two[1] == "toolchains");
            !parts.is_empty() && !of_toolchain && !is_below(program.parent()) && !is_below(rustup)
        })
        .collect();
    if kept.is_empty() { None } else { std::env::join_paths(kept).ok() }
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
