//! Proposed metadata: services, their settings, and what each value is based on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};
use xtask::cli::Exit;
use xtask::cli::error::Failure;

use crate::workspace::edit::replace;

impl Serialize for Proposal {
    /// An object with `service`, `manifest` and `settings`: objects with `key`, `value` (TOML),
    /// `guess` and `basis`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings: Vec<Json> = self.settings.iter().map(|setting| {
            let (guess, basis) = match &setting.basis {
                Basis::Stated(place) => (false, place),
                Basis::Guess(reason) => (true, reason),
            };
            json!({"key": setting.key, "value": plain(&setting.value), "guess": guess, "basis": basis})
        }).collect();
        let manifest = self.manifest().display().to_string();
        json!({"service": self.name, "manifest": manifest, "settings": settings})
            .serialize(serializer)
    }
}

/// The metadata of one service.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) settings: Vec<Setting>,
}

/// Where a service is declared. The manifests are relative to the workspace root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `[package.metadata.service]`.
    OnlyOfPackage { manifest: PathBuf },
    /// `[package.metadata.services.NAME]`.
    OneOfPackage { manifest: PathBuf },
    /// `[workspace.metadata.services.NAME]` of the root.
    Workspace,
}

/// One key of a service.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) value: Value,
    pub(crate) basis: Basis,
}

/// What a proposed value is based on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// A file that states it, with the line: `src/main.rs:12`.
    Stated(String),
    /// A conclusion, with its reason.
    Guess(String),
}

impl Basis {
    fn comment(&self) -> String {
        match self {
            Self::Stated(place) => format!("# from {place}"),
            Self::Guess(reason) => format!("# a guess: {reason}"),
        }
    }
}

/// Why a proposal cannot be written. A file is written only if all can be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to {operation} `{}`", file.display())]
    Io { operation: &'static str, file: PathBuf, source: io::Error },
    #[error("failed to edit `{}`: it is not valid TOML", file.display())]
    Syntax { file: PathBuf, source: toml_edit::TomlError },
    #[error("failed to edit `{}`: `{key}` is not a table", file.display())]
    NotATable { file: PathBuf, key: String },
    #[error("failed to edit `{}`: it declares the service `{name}` already", file.display())]
    Declared { file: PathBuf, name: String },
}

impl Error {
    /// The failure of a command, with its hint.
    pub(crate) fn failure(self) -> Failure {
        let message = self.to_string();
        let usage = |hint: &str| Failure::new(Exit::USAGE, &*message).hint(hint);
        match self {
            Self::Io { source, .. } => Failure::new(Exit::FAILED, message).cause(source),
            Self::Syntax { source, .. } => {
                usage("correct the line; `%xtask% check` shows it").cause(source)
            }
            Self::NotATable { key, .. } => usage(&format!("make `{key}` a table, or remove it")),
            Self::Declared { .. } => usage("remove one of the two, or give it another `name`"),
        }
    }
}

impl Proposal {
    pub(crate) fn new(name: impl Into<String>, place: Place) -> Self {
        Self { name: name.into(), place, settings: Vec::new() }
    }

    /// Adds a key. The first value of a key wins.
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>, basis: Basis) {
        if self.setting(key).is_none() {
            self.settings.push(Setting { key, value: value.into(), basis });
        }
    }

    pub(crate) fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// The manifest that declares the service, relative to the workspace root.
    pub(crate) fn manifest(&self) -> &Path {
        match &self.place {
            Place::OnlyOfPackage { manifest } | Place::OneOfPackage { manifest } => manifest,
            Place::Workspace => Path::new("Cargo.toml"),
        }
    }

    /// The keys that lead to the table of the service.
    fn path(&self) -> Vec<&str> {
        match &self.place {
            Place::OnlyOfPackage { .. } => vec!["package", "metadata", "service"],
            Place::OneOfPackage { .. } => vec!["package", "metadata", "services", &self.name],
            Place::Workspace => vec!["workspace", "metadata", "services", &self.name],
        }
    }

    /// The section as TOML. Each value has a comment about its basis; in a manifest only
    /// guesses have one.
    fn section(&self, is_written: bool) -> String {
        let header = self.path().into_iter().map(toml_key).collect::<Vec<_>>().join(".");
        let line = |setting: &Setting| format!("{} = {}", setting.key, plain(&setting.value));
        let lines: Vec<String> = self.settings.iter().map(line).collect();
        let short = lines.iter().map(|line| line.chars().count()).filter(|length| *length <= 50);
        let width = if is_written { 0 } else { short.max().unwrap_or(0) };
        let mut out = format!("[{header}]\n");
        for (line, setting) in lines.iter().zip(&self.settings) {
            match &setting.basis {
                Basis::Stated(_) if is_written => out += line,
                basis => out += &format!("{line:width$}  {}", basis.comment()),
            }
            out.push('\n');
        }
        out
    }
}

/// The proposals as text, by manifest, in the order given.
pub(crate) fn render(proposals: &[Proposal]) -> String {
    let mut out = String::new();
    for manifest in manifests(proposals) {
        out += &format!("# {}\n", manifest.display());
        for proposal in proposals.iter().filter(|proposal| proposal.manifest() == manifest) {
            out += &proposal.section(false);
            out.push('\n');
        }
    }
    out
}

/// The manifests that would change, each once, in the order of the proposals.
fn manifests(proposals: &[Proposal]) -> Vec<&Path> {
    let mut seen = Vec::new();
    for proposal in proposals {
        if !seen.contains(&proposal.manifest()) {
            seen.push(proposal.manifest());
        }
    }
    seen
}

/// Writes the proposals into the manifests below `root`. All other text stays as it is. Returns
/// the changed manifests.
pub(crate) fn write(root: &Path, proposals: &[Proposal]) -> Result<Vec<PathBuf>, Error> {
    let mut changed = BTreeMap::new();
    for manifest in manifests(proposals) {
        let of_manifest = proposals.iter().filter(|proposal| proposal.manifest() == manifest);
        let path = root.join(manifest);
        let text = fs::read_to_string(&path).map_err(|source| Error::Io {
            operation: "read",
            file: path.clone(),
            source,
        })?;
        changed.insert(manifest.to_path_buf(), edited(&text, manifest, of_manifest)?);
    }
    for (manifest, text) in &changed {
        replace(&root.join(manifest), text).map_err(|source| Error::Io {
            operation: "write",
            file: manifest.clone(),
            source,
        })?;
    }
    Ok(changed.into_keys().collect())
}

/// The text of a manifest with the sections added at its end.
fn edited<'a>(
    text: &str,
    file: &Path,
    proposals: impl Iterator<Item = &'a Proposal>,
) -> Result<String, Error> {
    let document: DocumentMut =
        text.parse().map_err(|source| Error::Syntax { file: file.to_path_buf(), source })?;
    let mut added = String::new();
    for proposal in proposals {
        let mut table: &dyn TableLike = document.as_table();
        let path = proposal.path();
        let (last, above) = path.split_last().expect("a section has a name");
        let mut absent = false;
        for key in above {
            match table.get(key) {
                Some(item) => {
                    let not_a_table =
                        || Error::NotATable { file: file.to_path_buf(), key: (*key).to_owned() };
                    // A section below a dotted or inline table would declare that table again.
                    table = item.as_table_like().ok_or_else(not_a_table)?;
                    let is_open = matches!(item, Item::Table(table) if !table.is_dotted());
                    if !is_open {
                        return Err(not_a_table());
                    }
                }
                None => {
                    absent = true;
                    break;
                }
            }
        }
        if !absent && table.contains_key(last) {
            let name = proposal.name.clone();
            return Err(Error::Declared { file: file.to_path_buf(), name });
        }
        added += "\n";
        added += &proposal.section(true);
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{text}{end}{added}"))
}

/// A value without the blanks around it.
fn plain(value: &Value) -> String {
    value.to_string().trim().to_owned()
}

/// A key in quotes where TOML needs them.
fn toml_key(key: &str) -> String {
    let mut table = Table::new();
    table.insert(key, toml_edit::value(true));
    table.get_key_value(key).map_or_else(String::new, |(key, _)| key.display_repr().into_owned())
}

/// An inline table.
pub(crate) fn inline<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut table = toml_edit::InlineTable::new();
    for (key, value) in entries {
        table.insert(key, value);
    }
    table.fmt();
    Value::InlineTable(table)
}

/// A list of texts.
pub(crate) fn list<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Value {
    let mut array: toml_edit::Array = texts.into_iter().map(Into::into).collect();
    array.fmt();
    Value::Array(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Proposal {
        let mut web =
            Proposal::new("web", Place::OnlyOfPackage { manifest: "web/Cargo.toml".into() });
        web.set("port", 8080, Basis::Stated("web/src/main.rs:3".into()));
        web.set("ready", inline([("http", "/health".into())]), Basis::Guess("its name".into()));
        web
    }

    #[test]
    fn proposal_is_shown_with_its_basis() {
        let expected = "# web/Cargo.toml\n[package.metadata.service]\n\
            port = 8080                   # from web/src/main.rs:3\n\
            ready = { http = \"/health\" }  # a guess: its name\n\n";
        assert_eq!(render(&[web()]), expected);
    }

    #[test]
    fn written_section_leaves_the_rest_of_the_file() {
        let before = "[package]\nname='web' # odd\n\n[package.metadata.docs]\nall = 1\n";
        let after = edited(before, Path::new("Cargo.toml"), [web()].iter()).unwrap();
        let added = "\n[package.metadata.service]\nport = 8080\n\
            ready = { http = \"/health\" }  # a guess: its name\n";
        assert_eq!(after, format!("{before}{added}"));
        after.parse::<DocumentMut>().unwrap();
    }

    #[test]
    fn declared_service_is_not_declared_again() {
        let text = "[package.metadata.service]\nport = 1\n";
        let error = edited(text, Path::new("Cargo.toml"), [web()].iter()).unwrap_err();
        assert!(matches!(error, Error::Declared { .. }), "{error}");
    }

    #[test]
    fn section_below_an_inline_table_is_refused() {
        let text = "[package]\nmetadata = { docs = 1 }\n";
        let error = edited(text, Path::new("Cargo.toml"), [web()].iter()).unwrap_err();
        assert!(matches!(error, Error::NotATable { .. }), "{error}");
    }

    #[test]
    fn odd_names_are_quoted() {
        let database = Proposal::new("my db", Place::Workspace);
        assert_eq!(database.section(true), "[workspace.metadata.services.\"my db\"]\n");
    }
}
