//! Finds PostgreSQL's programs, and the right version of them.
//!
//! Debian keeps several versions side by side, none of them in `PATH`; a cluster can only be
//! served by the version that made it. Nothing is installed here.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where packages put the programs, each with one folder a version in the place of the `*`.
const PLACES: [(&str, &str, &str); 4] = [
    // Debian and Ubuntu.
    ("/usr/lib/postgresql", "", "bin"),
    // Fedora, from PostgreSQL's own packages.
    ("/usr", "pgsql-", "bin"),
    // Homebrew, on both kinds of processor.
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
];

/// The programs of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    folder: PathBuf,
    version: u32,
}

/// Why there are no programs to use.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL is not installed: `postgres` and `initdb` are neither in `PATH` nor where \
         packages put them (`/usr/lib/postgresql/*/bin`)\nhint: install it, on Debian and Ubuntu: \
         `apt-get install postgresql`"
    )]
    Missing,
    /// Another version made the cluster.
    #[error(
        "the cluster was made by PostgreSQL {wanted}, and installed is {found}\nhint: install \
         that version, on Debian and Ubuntu: `apt-get install postgresql-{wanted}`, or delete the \
         cluster's folder with all that is stored in it"
    )]
    OtherVersion {
        /// The major version of the cluster.
        wanted: u32,
        /// The major versions that are there.
        found: String,
    },
    /// A program does not tell its version.
    #[error("asking `{} --version`", program.display())]
    Version {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Programs {
    /// Those in `PATH`, or else the newest ones; those of the major version `wanted` if it is
    /// given.
    ///
    /// # Errors
    /// When there are none, or none of that version.
    pub fn find(wanted: Option<u32>) -> Result<Self, ProgramsError> {
        let path = which::which("postgres").ok();
        Self::choose(path.into_iter().chain(installed()), wanted)
    }

    /// The path of a program.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The major version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    fn choose(
        candidates: impl IntoIterator<Item = PathBuf>,
        wanted: Option<u32>,
    ) -> Result<Self, ProgramsError> {
        let mut others = Vec::new();
        for candidate in candidates {
            // The link in `PATH` may lie apart from the program's companions.
            let Ok(program) = candidate.canonicalize() else { continue };
            let Some(folder) = program.parent() else { continue };
            if !folder.join("initdb").is_file() {
                continue;
            }
            let version = version_of(&program)
                .map_err(|source| ProgramsError::Version { program: program.clone(), source })?;
            if wanted.is_none_or(|wanted| wanted == version) {
                return Ok(Self { folder: folder.to_owned(), version });
            }
            others.push(version);
        }
        others.sort_unstable();
        others.dedup();
        match wanted {
            Some(wanted) if !others.is_empty() => {
                let found: Vec<_> = others.iter().map(u32::to_string).collect();
                Err(ProgramsError::OtherVersion { wanted, found: found.join(", ") })
            }
            _ => Err(ProgramsError::Missing),
        }
    }
}

/// `postgres` of every version in the usual places, the newest first.
fn installed() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (folder, prefix, rest) in PLACES {
        for entry in Path::new(folder).read_dir().into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(version) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else {
                continue;
            };
            let program = entry.path().join(rest).join("postgres");
            if program.is_file() {
                let number = version.trim_start_matches('@').parse().unwrap_or(u32::MAX);
                found.push((number, program));
            }
        }
    }
    found.sort_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, program)| program).collect()
}

/// The major version, from a line such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`.
fn version_of(program: &Path) -> io::Result<u32> {
    let output = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.split_once(") ").map_or("", |(_, rest)| rest);
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().map_err(|_| {
        let line = text.lines().next().unwrap_or_default();
        io::Error::new(io::ErrorKind::InvalidData, format!("it answered `{line}`"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with programs that say that they are of these versions.
    fn play(versions: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let programs = versions.iter().map(|version| {
            let folder = folder.path().join(version);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("initdb"), "").unwrap();
            let program = folder.join("postgres");
            let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Test)'\n");
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
            program
        });
        let programs = programs.collect();
        (folder, programs)
    }

    #[test]
    fn the_first_is_taken_unless_a_cluster_wants_another_version() {
        let (_folder, programs) = play(&["17.2", "15.18", "18beta1"]);
        let choose = |wanted| Programs::choose(programs.clone(), wanted).map(|p| p.version());
        assert_eq!(choose(None).unwrap(), 17);
        assert_eq!(choose(Some(15)).unwrap(), 15);
        assert_eq!(choose(Some(18)).unwrap(), 18);
        let error = choose(Some(16)).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 16, and installed is 15, 17, 18\nhint"), "{error}");
    }

    #[test]
    fn a_machine_without_postgresql_is_told_the_name_of_the_package() {
        let (folder, programs) = play(&["17.2"]);
        std::fs::remove_file(folder.path().join("17.2/initdb")).unwrap();
        let error = Programs::choose(programs, None).unwrap_err().to_string();
        assert!(error.contains("`apt-get install postgresql`"), "{error}");
    }
}
