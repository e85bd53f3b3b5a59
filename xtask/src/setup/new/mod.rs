//! `new`: adds a package with a service or a job that `up` runs at once.
//!
//! The files come from the workspace's template if it has one, else from the small program in this
//! folder. `[workspace.metadata.xtask] template = "FOLDER"` names the template: its folders
//! `service` and `job` hold files that are laid over the workspace. In their paths and texts these
//! words are replaced: `{{name}}`, `{{NAME}}` (as in variables), `{{crate}}` (as in Rust),
//! `{{port}}`, `{{depends-on}}` (a TOML list) and `{{addresses}}` (a sentence about the variables
//! of the dependencies). A file name ends in `.template` where its own ending would disturb tools.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, TableLike, Value};

use crate::workspace::edit::replace;

/// What is added.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) is_job: bool,
    pub(crate) depends_on: Vec<String>,
    /// The port of the new service.
    pub(crate) port: u16,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to {operation} `{}`", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to edit `{}`: it is not valid TOML", file.display())]
    Syntax { file: PathBuf, source: toml_edit::TomlError },
    #[error(
        "`{name}` is not a name for a package\n\
         hint: write lower-case letters, digits and `-`, beginning with a letter"
    )]
    Name { name: String },
    #[error("`{}` exists already\nhint: choose another name, or remove it", path.display())]
    Exists { path: PathBuf },
    #[error(
        "the workspace has no `[workspace]` section that a package could be added to\n\
         hint: add `[workspace]` to its Cargo.toml"
    )]
    NoWorkspace,
    #[error(
        "the template `{}` has no files\n\
         hint: put them into its folder `{kind}`, or remove `template` from the root's Cargo.toml",
        folder.display()
    )]
    EmptyTemplate { folder: PathBuf, kind: &'static str },
}

/// What was added.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// The new files, relative to the root.
    pub(crate) files: Vec<PathBuf>,
    /// Whether the root's `Cargo.toml` was changed.
    pub(crate) root_changed: bool,
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
    let files = match template(&document) {
        Some(folder) => of_template(root, &folder, wanted)?,
        None => built_in(&document, wanted),
    };
    for path in files.keys() {
        if root.join(path).exists() {
            return Err(Error::Exists { path: path.clone() });
        }
    }
    let packages: Vec<&Path> = files
        .keys()
        .filter(|path| path.ends_with("Cargo.toml"))
        .filter_map(|path| path.parent())
        .collect();
    let mut root_changed = false;
    for package in packages {
        root_changed |= add_member(&mut document, package)?;
    }
    root_changed |= add_default(&mut document, &wanted.name);
    for (path, text) in &files {
        create(&root.join(path), text)?;
    }
    if root_changed {
        replace(&manifest, &document.to_string()).map_err(|source| Error::Io {
            operation: "write",
            path: manifest,
            source,
        })?;
    }
    Ok(Added { files: files.into_keys().collect(), root_changed })
}

fn check_name(name: &str) -> Result<(), Error> {
    let is_word = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
    if is_word && starts { Ok(()) } else { Err(Error::Name { name: name.to_owned() }) }
}

/// The text with the words of the template replaced.
fn filled(text: &str, wanted: &Wanted) -> String {
    let quoted: Vec<String> = wanted.depends_on.iter().map(|name| format!("{name:?}")).collect();
    let urls: Vec<String> =
        wanted.depends_on.iter().map(|name| format!("`{}_URL`", upper(name))).collect();
    let addresses = match urls.is_empty() {
        true => String::new(),
        false => format!(" The tool sets {}.", urls.join(" and ")),
    };
    text.replace("{{name}}", &wanted.name)
        .replace("{{NAME}}", &upper(&wanted.name))
        .replace("{{crate}}", &wanted.name.replace('-', "_"))
        .replace("{{port}}", &wanted.port.to_string())
        .replace("{{depends-on}}", &format!("[{}]", quoted.join(", ")))
        .replace("{{addresses}}", &addresses)
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// The folder of the workspace's template.
fn template(document: &DocumentMut) -> Option<PathBuf> {
    let folder = document.get("workspace")?.get("metadata")?.get("xtask")?.get("template")?;
    Some(PathBuf::from(folder.as_str()?))
}

/// The files of the workspace's template, by their paths from the root.
fn of_template(
    root: &Path,
    folder: &Path,
    wanted: &Wanted,
) -> Result<BTreeMap<PathBuf, String>, Error> {
    let kind = if wanted.is_job { "job" } else { "service" };
    let top = root.join(folder).join(kind);
    let mut files = BTreeMap::new();
    let mut folders = vec![top.clone()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(&top).unwrap_or(&path).to_string_lossy().into_owned();
            let below = below.strip_suffix(".template").unwrap_or(&below);
            files.insert(PathBuf::from(filled(below, wanted)), filled(&read(&path)?, wanted));
        }
    }
    if files.is_empty() {
        return Err(Error::EmptyTemplate { folder: folder.to_path_buf(), kind });
    }
    Ok(files)
}

/// The files of the built-in template, in the folder where the members of the workspace are.
fn built_in(document: &DocumentMut, wanted: &Wanted) -> BTreeMap<PathBuf, String> {
    let folder = member_folder(document).join(&wanted.name);
    let files = if wanted.is_job { JOB } else { SERVICE };
    files.iter().map(|(path, text)| (folder.join(path), filled(text, wanted))).collect()
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
