//! `import`: proposes metadata from a file of another tool, and names what does not carry over.

pub(crate) mod compose;
mod ini;
mod procfile;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xtask::cli::Exit;
use xtask::cli::error::Failure;
use xtask_core::manifest::is_name;

use super::proposal::Proposal;
use super::workspace::Program;

/// What a file of another tool becomes.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    pub(crate) proposals: Vec<Proposal>,
    /// What the metadata cannot express or the tool does by itself, one sentence each.
    pub(crate) not_carried: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read `{}`", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("failed to read `{file}`: {message}")]
    Syntax { file: String, message: String },
    #[error("`{file}` is no file that can be imported")]
    Unknown { file: String },
    #[error("`{name}` in `{file}` cannot be the name of a service")]
    Name { file: String, name: String },
}

impl Error {
    /// The failure of a command, with its hint.
    pub(crate) fn failure(self) -> Failure {
        let failure = Failure::new(Exit::USAGE, self.to_string());
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                failure.hint("save it as UTF-8").cause(source)
            }
            Self::Read { source, .. } => failure.cause(source),
            Self::Name { .. } => failure
                .hint("rename it there: letters, digits, `-` and `_`, beginning with a letter"),
            Self::Syntax { .. } => failure.hint("correct the line, or leave the part out"),
            Self::Unknown { .. } => failure.hint(
                "import a `Procfile`, a compose file (`compose.yaml`) or a `dependencies.ini`",
            ),
        }
    }
}

/// Reads a file and proposes metadata for its services. `programs` are the binaries of the
/// workspace at `root`: a service that runs one of them is declared in its package.
pub(crate) fn import(root: &Path, file: &Path, programs: &[Program]) -> Result<Imported, Error> {
    let name = file.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let name = name.unwrap_or_default();
    let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let text = || {
        fs::read_to_string(file).map_err(|source| Error::Read { file: file.to_path_buf(), source })
    };
    let imported = if name.starts_with("procfile") {
        procfile::read(&shown, &text()?, programs)
    } else if ends(&[".yaml", ".yml"]) {
        compose::propose(&compose::read(&shown, &text()?)?, programs)
    } else if ends(&[".ini", ".cfg"]) {
        ini::read(&shown, &text()?, programs)?
    } else {
        return Err(Error::Unknown { file: shown });
    };
    match imported.proposals.iter().find(|proposal| !is_name(&proposal.name)) {
        Some(proposal) => Err(Error::Name { file: shown, name: proposal.name.clone() }),
        None => Ok(imported),
    }
}

/// The program with this name: its binary, or the only binary of a package.
fn program<'a>(name: &str, programs: &'a [Program]) -> Option<&'a Program> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let of_package = |program: &&Program| plain(&program.package) == plain(name);
    programs.iter().find(|program| plain(&program.bin) == plain(name)).or_else(|| {
        let mut found = programs.iter().filter(of_package);
        found.next().filter(|_| found.next().is_none())
    })
}

#[cfg(test)]
mod tests;
