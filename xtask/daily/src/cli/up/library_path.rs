//! The folders that `cargo run` adds to the search path of the dynamic loader.
//!
//! These are, as in cargo: folders that build scripts name and that are below the folder of the
//! program, the folder itself, its `deps`, and the folder of Rust's own libraries.
//!
//! rustc takes longer to tell its folder than cargo takes to find that nothing is to be built. So
//! the answer is kept in the target directory. It counts as long as it is in the toolchain that
//! rustup has chosen for this command.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use xtask_core::sorted::SortedSet;

use tokio::process::Command;
use tokio::task::JoinHandle;
use xtask_core::stack::LinkedProgram;

use crate::system::json_file::write_json;
use crate::system::task;
use crate::workspace::WorkspaceFiles;

pub struct LibraryPath {
    target_directory: PathBuf,
    build_directory: PathBuf,
    /// What build scripts named: `KIND=PATH` or `PATH`.
    native: SortedSet<String>,
    rust: Rust,
}

/// The folder of Rust's own libraries.
enum Rust {
    Asked(JoinHandle<Option<String>>),
    Known(Option<String>),
}

impl LibraryPath {
    /// Asks rustc, unless its answer is known; it answers while cargo builds. Call this inside the
    /// runtime.
    pub fn new(files: &WorkspaceFiles) -> Self {
        let kept = files.target_directory.join(KEPT);
        let toolchain = toolchain(|name| std::env::var_os(name));
        let known = toolchain.as_deref().and_then(|toolchain| answer_in(&kept, toolchain));
        let rust = match known {
            Some(known) => Rust::Known(Some(known)),
            None => Rust::Asked(ask(toolchain.is_some().then_some(kept))),
        };
        Self {
            target_directory: files.target_directory.clone(),
            build_directory: files.build_directory.clone(),
            native: SortedSet::new(),
            rust,
        }
    }

    /// Adds what a build script named.
    pub fn add(&mut self, named: impl IntoIterator<Item = String>) {
        self.native.extend(named);
    }

    /// Adds what the build scripts of an earlier build named, whose output cargo keeps.
    pub fn add_earlier(&mut self, folder: &Path) {
        let scripts = fs::read_dir(folder.join("build")).into_iter().flatten().flatten();
        let outputs = scripts.filter_map(|script| fs::read(script.path().join("output")).ok());
        for output in outputs {
            self.add(String::from_utf8_lossy(&output).lines().filter_map(|line| {
                let named = line.strip_prefix("cargo::").or_else(|| line.strip_prefix("cargo:"))?;
                Some(named.strip_prefix("rustc-link-search=")?.to_owned())
            }));
        }
    }

    /// Waits until [`Self::of`] can be called. Cancel safe.
    pub async fn prepared(&mut self) {
        if let Rust::Asked(answer) = &mut self.rust {
            self.rust = Rust::Known(answer.await.ok().flatten());
        }
    }

    /// A program with its search path.
    pub fn of(&self, program: String) -> LinkedProgram {
        let folder = Path::new(&program).parent().unwrap_or(Path::new("/"));
        let native = self.native.iter().map(|named| match named.split_once('=') {
            Some(("native" | "crate" | "dependency" | "framework" | "all", path)) => path,
            _ => named,
        });
        let native = native.map(PathBuf::from).filter(|path| path.starts_with(folder));
        let below_target = folder.strip_prefix(&self.target_directory);
        let built = below_target.map_or_else(|_| folder.into(), |f| self.build_directory.join(f));
        let mut folders: Vec<PathBuf> = native.collect();
        folders.extend([folder.to_path_buf(), built.join("deps")]);
        if let Rust::Known(Some(rust)) = &self.rust {
            folders.push(rust.into());
        }
        let library_path = folders.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        LinkedProgram { path: program, library_path }
    }
}

/// The file with rustc's answer in the target directory.
const KEPT: &str = "xtask-rust-libraries";

/// Asks rustc for the folder of its libraries, and keeps the answer in a file.
fn ask(kept: Option<PathBuf>) -> JoinHandle<Option<String>> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--print", "target-libdir"]).stdin(Stdio::null()).kill_on_drop(true);
    task::spawn(async move {
        let output = rustc.output().await.ok().filter(|output| output.status.success())?;
        let answer = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        if let Some(kept) = kept {
            // Without the file the next command asks again.
            let _ = write_json(&kept, &answer);
        }
        Some(answer)
    })
}

/// The folder of the toolchain that rustup has chosen for this command; none without rustup, or if
/// another rustc is wanted.
fn toolchain(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if variable("RUSTC").is_some() {
        return None;
    }
    let chosen = variable("RUSTUP_TOOLCHAIN")?;
    let home = variable("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".rustup")))?;
    // A toolchain may be chosen by its folder, which then replaces the rest.
    home.join("toolchains").join(chosen).canonicalize().ok()
}

/// The answer in a file, if it is a folder of this toolchain.
fn answer_in(kept: &Path, toolchain: &Path) -> Option<String> {
    let answer: String = serde_json::from_slice(&fs::read(kept).ok()?).ok()?;
    let folder = Path::new(&answer).canonicalize().ok()?;
    (folder.is_dir() && folder.starts_with(toolchain)).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library_path() -> LibraryPath {
        LibraryPath {
            target_directory: "/w/target".into(),
            build_directory: "/w/build".into(),
            native: SortedSet::new(),
            rust: Rust::Known(Some("/rust/lib".to_owned())),
        }
    }

    #[test]
    fn folders_are_those_of_cargo_run() {
        let mut path = library_path();
        let named = ["/opt/lib", "native=/w/target/debug/build/b/out", "/w/target/debug/a"];
        path.add(named.map(str::to_owned));
        path.add(["native=/w/target/release/build/b/out".to_owned()]);
        assert_eq!(
            path.of("/w/target/debug/tool".to_owned()).library_path,
            [
                "/w/target/debug/a",
                "/w/target/debug/build/b/out",
                "/w/target/debug",
                "/w/build/debug/deps",
                "/rust/lib"
            ]
        );
    }

    #[test]
    fn kept_answer_counts_in_the_chosen_toolchain_only() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        let (kept, libraries) = (home.join(KEPT), home.join("toolchains/stable/lib"));
        fs::create_dir_all(&libraries).unwrap();
        fs::create_dir_all(home.join("toolchains/nightly")).unwrap();
        write_json(&kept, &libraries.to_str().unwrap()).unwrap();
        let known = |set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let (_, value) = set.iter().find(|(set, _)| *set == name)?;
                Some(OsString::from(value.replace("HOME", home.to_str().unwrap())))
            };
            answer_in(&kept, &toolchain(variable)?)
        };
        let rustup = ("RUSTUP_HOME", "HOME");
        let stable = ("RUSTUP_TOOLCHAIN", "stable");
        let answer = libraries.to_str().map(str::to_owned);
        assert_eq!(known(&[rustup, stable]), answer);
        assert_eq!(known(&[rustup, ("RUSTUP_TOOLCHAIN", "HOME/toolchains/stable")]), answer);
        assert_eq!(known(&[rustup, ("RUSTUP_TOOLCHAIN", "nightly")]), None);
        assert_eq!(known(&[rustup, ("RUSTUP_TOOLCHAIN", "missing")]), None);
        assert_eq!(known(&[rustup, stable, ("RUSTC", "other")]), None);
        assert_eq!(known(&[rustup]), None);
        fs::remove_dir(&libraries).unwrap();
        assert_eq!(known(&[rustup, stable]), None);
    }

    #[test]
    fn earlier_output_of_build_scripts_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("build/native-1");
        fs::create_dir_all(&script).unwrap();
        let text = format!(
            "cargo:rustc-link-search=native={0}/one\nnoise\ncargo::rustc-link-search={0}/two\n",
            folder.path().display()
        );
        fs::write(script.join("output"), text).unwrap();
        let mut path = library_path();
        path.add_earlier(folder.path());
        let found = path.of(folder.path().join("tool").display().to_string()).library_path;
        assert!(found[0].ends_with("/two") && found[1].ends_with("/one"), "{found:?}");
    }
}
