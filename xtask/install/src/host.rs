//! The workspace that gets the tool: its root, its toolchain, and what may be in the way.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use toml_edit::{DocumentMut, Item};

use crate::text::read;
use crate::{Error, MEMBER, config, manifest, sources};

/// A workspace, or a single package.
#[derive(Clone, Debug)]
pub struct Host {
    /// The folder of the root manifest.
    pub root: PathBuf,
    /// The folder of each package.
    packages: Vec<(String, PathBuf)>,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

impl Host {
    /// The workspace around a folder.
    ///
    /// # Errors
    /// When cargo finds none, or cannot read it.
    pub fn around(folder: &Path) -> Result<Self, Error> {
        let arguments = ["metadata", "--no-deps", "--format-version", "1"];
        let output = run("cargo", &arguments, folder)?;
        let metadata: Metadata = serde_json::from_str(&output).map_err(|error| Error::Program {
            command: "cargo metadata".to_owned(),
            message: error.to_string(),
        })?;
        let folder_of = |package: Package| {
            (package.name, package.manifest_path.parent().unwrap_or(Path::new("")).to_owned())
        };
        let packages = metadata.packages.into_iter().map(folder_of).collect();
        Ok(Self { root: metadata.workspace_root, packages })
    }

    /// The root manifest and its text.
    pub(crate) fn manifest(&self) -> Result<(PathBuf, String), Error> {
        let path = self.root.join("Cargo.toml");
        let text = read(&path)?.unwrap_or_default();
        Ok((path, text))
    }

    /// The path of cargo's settings from the root. Cargo prefers the older name if it exists.
    pub(crate) fn config_path(&self) -> &'static str {
        match self.root.join(".cargo/config").is_file() {
            true => ".cargo/config",
            false => ".cargo/config.toml",
        }
    }

    /// Whether the tool can be installed: nothing of its name is there, and cargo builds it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let folder = self.root.join(MEMBER);
        if let Some((_, folder)) = self.packages.iter().find(|(name, _)| name == MEMBER) {
            let shown = folder.strip_prefix(&self.root).unwrap_or(folder).display();
            return Err(Error::Taken { what: format!("a package `xtask` in `{shown}`") });
        }
        if fs::symlink_metadata(&folder).is_ok() {
            return Err(Error::Taken { what: "a folder `xtask`".to_owned() });
        }
        let config = self.root.join(self.config_path());
        let parsed = |path: &Path| {
            let path = path.to_owned();
            move |error: toml_edit::TomlError| Error::Format { path, message: error.to_string() }
        };
        let text = read(&config)?.unwrap_or_default();
        if let Some(what) = config::taken(&text).map_err(parsed(&config))? {
            return Err(Error::Taken { what });
        }
        let (path, text) = self.manifest()?;
        if manifest::excludes_launcher(&text).map_err(parsed(&path))? {
            return Err(Error::Excluded);
        }
        self.check_toolchain()
    }

    /// Whether the toolchain that cargo uses in the workspace compiles the tool for this machine.
    pub(crate) fn check_toolchain(&self) -> Result<(), Error> {
        let output = run("rustc", &["-vV"], &self.root)?;
        let line = |name: &str| output.lines().find_map(|line| line.strip_prefix(name));
        let found = line("release: ").unwrap_or_default();
        let needed = sources::rust_version();
        if numbers(found) < numbers(&needed) {
            let found = found.to_owned();
            return Err(Error::Toolchain { needed, found, root: self.root.clone() });
        }
        let host = line("host: ").unwrap_or_default();
        match self.build_target().filter(|target| target != host) {
            Some(target) => Err(Error::OtherTarget { target, host: host.to_owned() }),
            None => Ok(()),
        }
    }

    /// The target that settings choose for every build in the workspace.
    fn build_target(&self) -> Option<String> {
        if let Ok(target) = env::var("CARGO_BUILD_TARGET") {
            return Some(target).filter(|target| !target.is_empty());
        }
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        let above = self.root.ancestors().map(|folder| folder.join(".cargo"));
        above.chain(home).find_map(|folder| {
            let files = ["config", "config.toml"].iter();
            let text =
                files.filter_map(|name| fs::read_to_string(folder.join(name)).ok()).next()?;
            let config: DocumentMut = text.parse().ok()?;
            Some(config.get("build")?.get("target").and_then(Item::as_str)?.to_owned())
        })
    }
}

/// The output of a program that succeeds in this folder.
pub(crate) fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<String, Error> {
    let failed =
        |message| Error::Program { command: format!("{program} {}", arguments.join(" ")), message };
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(failed(text.trim().trim_start_matches("error: ").to_owned()))
        }
    }
}

/// The numbers of a version, without what follows a `-`.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['-', '+', ' ']).next().unwrap_or_default();
    plain.split('.').map(|number| number.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(numbers("1.84.1") < numbers("1.85"));
        assert!(numbers("1.100.0-nightly") > numbers("1.95"));
        assert!(numbers("1.95.0") >= numbers("1.95"));
    }
}
