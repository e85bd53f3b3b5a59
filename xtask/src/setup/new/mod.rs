//! `new`: adds a package with a service or a job that `up` runs at once.
//!
//! The files come from the workspace's template if it has one, else from the small program in this
//! folder. `[workspace.metadata.xtask] template = "FOLDER"` names the template: its folders
//! `service` and `job` hold files that are laid over the workspace. [`template`] fills them in.

mod template;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, TableLike, Value};
use xtask::cli::Exit;
use xtask::cli::error::Failure;

use self::template::{Layer, snake};
use crate::workspace::edit::replace;

/// What is added.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) is_job: bool,
    pub(crate) depends_on: Vec<Dependency>,
    /// The port of the new service.
    pub(crate) port: u16,
    /// The names of the packages and services of the workspace.
    pub(crate) taken: Vec<String>,
}

/// A service that must be ready first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Whether it answers HTTP at an address.
    pub(crate) serves_http: bool,
}

impl Wanted {
    /// The dependencies that the new package can call.
    fn upstreams(&self) -> impl Iterator<Item = &Dependency> {
        self.depends_on.iter().filter(|dependency| dependency.serves_http)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to {operation} `{}`", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to edit `{}`: it is not valid TOML", file.display())]
    Syntax { file: PathBuf, source: toml_edit::TomlError },
    #[error("`{name}` is not a name for a package")]
    Name { name: String },
    #[error("`{name}` is {why}")]
    Reserved { name: String, why: &'static str },
    #[error(
        "the template makes the module `{}` twice, because a dependency has the name of one of its \
         files or folders",
        path.display()
    )]
    Twice { path: PathBuf },
    #[error("`{}` exists already", path.display())]
    Exists { path: PathBuf },
    #[error("the workspace has no `[workspace]` section that a package could be added to")]
    NoWorkspace,
    #[error("the template `{}` has no files", folder.display())]
    EmptyTemplate { folder: PathBuf, kind: &'static str },
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
            Self::Name { .. } => {
                usage("write lower-case letters, digits and `-`, beginning with a letter")
            }
            Self::Reserved { .. } => usage("choose another name"),
            Self::Twice { .. } => {
                usage("leave it out of `--depends-on`, and add it to the new Cargo.toml")
            }
            Self::Exists { .. } => usage("choose another name, or remove it"),
            Self::NoWorkspace => usage("add `[workspace]` to its Cargo.toml"),
            Self::EmptyTemplate { kind, .. } => usage(&format!(
                "put them into its folder `{kind}`, or remove `template` from the root's Cargo.toml"
            )),
        }
    }
}

/// What was added.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// The new files, relative to the root.
    pub(crate) files: Vec<PathBuf>,
    /// The files that were changed, relative to the root.
    pub(crate) changed: Vec<PathBuf>,
    /// Whether the files come from the workspace's template.
    pub(crate) from_template: bool,
}

/// The files of the built-in templates.
const SERVICE: [(&str, &str); 2] = [
    ("Cargo.toml", include_str!("service/Cargo.toml.template")),
    ("src/main.rs", include_str!("service/src/main.rs.template")),
];
const JOB: [(&str, &str); 2] = [
    ("Cargo.toml", include_str!("job/Cargo.toml.template")),
    ("src/main.rs", include_str!("job/src/main.rs.template")),
];

/// Adds the package to the workspace at `root`. If something is in the way, nothing is written.
pub(crate) fn add(root: &Path, wanted: &Wanted) -> Result<Added, Error> {
    check_name(&wanted.name)?;
    let manifest = root.join("Cargo.toml");
    let text = read(&manifest)?;
    let mut document: DocumentMut =
        text.parse().map_err(|source| Error::Syntax { file: manifest.clone(), source })?;
    let own = own_template(&document);
    let Layer { files, lines } = match &own {
        Some(folder) => template::read_folder(root, folder, wanted)?,
        None => Layer { files: built_in(&document, wanted), ..Layer::default() },
    };
    for path in files.keys() {
        if root.join(path).exists() {
            return Err(Error::Exists { path: path.clone() });
        }
    }
    if wanted.taken.contains(&wanted.name) {
        let why = "a package or service of this workspace already";
        return Err(Error::Reserved { name: wanted.name.clone(), why });
    }
    if files.iter().any(|(path, text)| path.ends_with("Cargo.toml") && uses(text, &wanted.name)) {
        // The library of the new package would have the name of that of the dependency.
        let why = "a dependency of the new package";
        return Err(Error::Reserved { name: wanted.name.clone(), why });
    }
    let module = snake(&wanted.name);
    let import = format!("use {module}::{module};");
    if files.values().any(|text| text.contains(&import)) {
        // The import would hide the crate from the next one.
        let why = "a module that the new package imports";
        return Err(Error::Reserved { name: wanted.name.clone(), why });
    }
    let mut changed = BTreeMap::new();
    for (path, lines) in &lines {
        let text = read(&root.join(path))?;
        changed.insert(path.clone(), template::with_lines(&text, lines));
    }
    let packages = files.keys().filter(|path| path.ends_with("Cargo.toml"));
    let mut root_changed = false;
    for package in packages.filter_map(|path| path.parent()) {
        root_changed |= add_member(&mut document, package)?;
    }
    root_changed |= add_default(&mut document, &wanted.name);
    if root_changed {
        changed.insert("Cargo.toml".into(), document.to_string());
    }
    for (path, text) in &files {
        create(&root.join(path), text)?;
    }
    for (path, text) in &changed {
        let path = root.join(path);
        let wrong = |source| Error::Io { operation: "write", path: path.clone(), source };
        replace(&path, text).map_err(wrong)?;
    }
    Ok(Added {
        files: files.into_keys().collect(),
        changed: changed.into_keys().collect(),
        from_template: own.is_some(),
    })
}

/// Names that cargo or Rust has for something else.
const RESERVED: [(&str, &[&str]); 3] = [
    ("a word of Rust", &RUST_WORDS),
    ("a crate of Rust", &["alloc", "core", "proc-macro", "std", "test"]),
    ("a folder that cargo makes", &["build", "deps", "examples", "incremental"]),
];

const RUST_WORDS: [&str; 50] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while",
];

fn check_name(name: &str) -> Result<(), Error> {
    let is_word = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
    if !is_word || !starts {
        return Err(Error::Name { name: name.to_owned() });
    }
    match RESERVED.iter().find(|(_, names)| names.contains(&name)) {
        Some(&(why, _)) => Err(Error::Reserved { name: name.to_owned(), why }),
        None => Ok(()),
    }
}

/// Whether a manifest names a package as a dependency.
fn uses(manifest: &str, package: &str) -> bool {
    let Ok(manifest) = manifest.parse::<DocumentMut>() else { return false };
    let tables = ["dependencies", "dev-dependencies"].into_iter();
    tables.filter_map(|table| manifest.get(table)).any(|table| table.get(package).is_some())
}

/// The folder of the workspace's template.
fn own_template(document: &DocumentMut) -> Option<PathBuf> {
    let folder = document.get("workspace")?.get("metadata")?.get("xtask")?.get("template")?;
    Some(PathBuf::from(folder.as_str()?))
}

/// The files of the built-in template, in the folder where the members of the workspace are.
fn built_in(document: &DocumentMut, wanted: &Wanted) -> BTreeMap<PathBuf, String> {
    let folder = member_folder(document).join(&wanted.name);
    let files = if wanted.is_job { JOB } else { SERVICE };
    files.iter().map(|(path, text)| (folder.join(path), template::filled(text, wanted))).collect()
}

/// The folder of a pattern such as `services/*`, or the root.
fn member_folder(document: &DocumentMut) -> PathBuf {
    let folders = members(document).filter_map(|member| member.strip_suffix("/*"));
    let folder = folders.max_by_key(|folder| folder.starts_with("service"));
    folder.map_or_else(PathBuf::new, PathBuf::from)
}

fn members(document: &DocumentMut) -> impl Iterator<Item = &str> {
    let members = document.get("workspace").and_then(|workspace| workspace.get("members"));
    members.and_then(Item::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Adds a folder to the members, unless a pattern covers it. Returns whether something changed.
fn add_member(document: &mut DocumentMut, package: &Path) -> Result<bool, Error> {
    let is_covered = members(document).any(|member| match member.strip_suffix('*') {
        Some(above) => {
            let above = Path::new(above);
            package.strip_prefix(above).is_ok_and(|rest| {
                rest.components().filter(|part| matches!(part, Component::Normal(_))).count() == 1
            })
        }
        None => Path::new(member) == package,
    });
    if is_covered {
        return Ok(false);
    }
    let workspace = document.get_mut("workspace").and_then(Item::as_table_like_mut);
    let workspace = workspace.ok_or(Error::NoWorkspace)?;
    let members = workspace.entry("members").or_insert(Item::Value(Value::Array(Array::new())));
    let members = members.as_array_mut().ok_or(Error::NoWorkspace)?;
    push(members, &package.display().to_string());
    Ok(true)
}

/// Adds a name to `default`, if the workspace has one.
fn add_default(document: &mut DocumentMut, name: &str) -> bool {
    // A table that is only looked up by `get_mut` would be created.
    let table = ["workspace", "metadata", "xtask"]
        .into_iter()
        .try_fold(document.as_table_mut() as &mut dyn TableLike, |table, key| {
            table.get_mut(key)?.as_table_like_mut()
        });
    match table.and_then(|table| table.get_mut("default")?.as_array_mut()) {
        Some(names) if names.iter().all(|other| other.as_str() != Some(name)) => {
            push(names, name);
            true
        }
        _ => false,
    }
}

/// Adds a text to a list in the manner of its last entry.
fn push(list: &mut Array, text: &str) {
    let mut value = Value::from(text);
    if let Some(last) = list.iter().last() {
        let decor = last.decor();
        let prefix = decor.prefix().and_then(|prefix| prefix.as_str()).unwrap_or(" ");
        // The first of several entries in one line has no blank before it.
        let prefix = if prefix.is_empty() { " " } else { prefix };
        // A comment before the last entry is about that entry.
        let prefix = match prefix.rfind('\n') {
            Some(at) if prefix.contains('#') => prefix[at..].to_owned(),
            _ => prefix.to_owned(),
        };
        value.decor_mut().set_prefix(prefix);
    }
    list.push_formatted(value);
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Io {
        operation: "read",
        path: path.to_path_buf(),
        source,
    })
}

/// Creates a file and the folders on its way. An existing file stays.
fn create(path: &Path, text: &str) -> Result<(), Error> {
    let wrong =
        |source: io::Error| Error::Io { operation: "create", path: path.to_path_buf(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    let mut file = fs::File::create_new(path).map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)
}

#[cfg(test)]
mod tests;
