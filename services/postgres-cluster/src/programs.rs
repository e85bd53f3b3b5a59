//! Finds PostgreSQL's programs in the right version.
//!
//! Debian installs several versions side by side, outside `PATH`. Only the version that created a
//! cluster can serve it. Nothing is installed here.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folders of packages: each has one subfolder per version, with this prefix and suffix.
const PLACES: [(&str, &str, &str); 4] = [
    // Debian and Ubuntu.
    ("/usr/lib/postgresql", "", "bin"),
    // Fedora, from PostgreSQL's own packages.
    ("/usr", "pgsql-", "bin"),
    // Homebrew, on ARM and on Intel.
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
];

/// The programs of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    folder: PathBuf,
    version: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    #[error(
        "PostgreSQL is not installed: `postgres` and `initdb` are neither in `PATH` nor in the \
         folders of packages (`/usr/lib/postgresql/*/bin`)\nhint: install it, on Debian and Ubuntu: \
         `apt-get install postgresql`"
    )]
    Missing,
    #[error(
        "PostgreSQL {wanted} created the cluster, but only {found} is installed\nhint: install that \
         version, on Debian and Ubuntu: `apt-get install postgresql-{wanted}`, or delete the \
         cluster's folder and all data in it"
    )]
    OtherVersion { wanted: u32, found: String },
    #[error("failed to run `{} --version`", program.display())]
    Version { program: PathBuf, source: io::Error },
}

impl Programs {
    /// The programs in `PATH`, or else the newest ones. With `wanted`, those of that major version.
    ///
    /// # Errors
    /// When there are none, or none of that version.
    pub fn find(wanted: Option<u32>) -> Result<Self, ProgramsError> {
        let path = which::which("postgres").ok();
        Self::choose(path.into_iter().chain(installed()), wanted)
    }

    /// The path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    fn choose(
        candidates: impl IntoIterator<Item = PathBuf>,
        wanted: Option<u32>,
    ) -> Result<Self, ProgramsError> {
        let mut others = Vec::new();
        for candidate in candidates {
            // The link in `PATH` may be in another folder than `initdb`.
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

/// `postgres` of every version in the folders of packages, newest first.
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
        io::Error::new(io::ErrorKind::InvalidData, format!("unexpected output `{line}`"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with fake programs of these versions.
    fn fake_programs(versions: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
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
    fn first_programs_are_used_without_a_wanted_version() {
        let (_folder, programs) = fake_programs(&["17.2", "15.18", "18beta1"]);
        let choose = |wanted| Programs::choose(programs.clone(), wanted).map(|p| p.version());
        assert_eq!(choose(None).unwrap(), 17);
        assert_eq!(choose(Some(15)).unwrap(), 15);
        assert_eq!(choose(Some(18)).unwrap(), 18);
        let error = choose(Some(16)).unwrap_err().to_string();
        assert!(
            error.contains(
                "PostgreSQL 16 created the cluster, but only 15, 17, 18 is installed\nhint"
            ),
            "{error}"
        );
    }

    #[test]
    fn missing_postgresql_names_the_package() {
        let (folder, programs) = fake_programs(&["17.2"]);
        std::fs::remove_file(folder.path().join("17.2/initdb")).unwrap();
        let error = Programs::choose(programs, None).unwrap_err().to_string();
        assert!(error.contains("`apt-get install postgresql`"), "{error}");
    }
}
