//! Installs the tool in a workspace, or updates it there.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::run;
use crate::record::{Edit, RECORD, Record, is_inside};
use crate::sources::Files;
use crate::text::{hash, read, with_line_ends, write};
use crate::{Error, Host, MEMBER, TOOL, config, lock, manifest, sources};

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The tool is new in the workspace.
    New,
    /// Another version was there, or a file was missing.
    Updated,
    /// Exactly this version is there already.
    Same,
}

/// Installs this version of the tool. Edits of installed files are lost only with
/// `discard_edits`. If it fails, the workspace is as before.
///
/// # Errors
/// [`Error`]; nothing was changed.
pub fn install(host: &Host, discard_edits: bool) -> Result<Installed, Error> {
    let root = &host.root;
    let former = Record::of(root)?;
    match &former {
        Some(former) => {
            let files = former.edited(root)?;
            if !files.is_empty() && !discard_edits {
                return Err(Error::Edited { files });
            }
            host.check_toolchain()?;
        }
        None => host.check()?,
    }
    let mut files = Files::new();
    let launcher = sources::launcher().into_iter();
    files.extend(launcher.map(|(path, content)| (format!("{MEMBER}/{path}"), content)));
    let tool = sources::tool()
        .map_err(|error| Error::Format { path: "Cargo.toml".into(), message: error.to_string() })?;
    files.extend(tool.into_iter().map(|(path, content)| (format!("{TOOL}/{path}"), content)));

    let former = former.unwrap_or_default();
    let is_new = former.files.is_empty();
    let mut record = Record {
        about: "What `install` wrote. `uninstall` needs it, so keep it with the other files."
            .into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        files: files.iter().map(|(path, content)| (path.clone(), hash(content))).collect(),
        edits: BTreeMap::new(),
    };
    let edits = edits(host, &former)?;
    for (path, (edit, _)) in &edits {
        record.edits.insert(path.clone(), edit.clone());
    }
    files.insert(RECORD.to_owned(), record.text().into_bytes());
    for (path, (_, text)) in edits {
        files.extend(text.map(|text| (path, text.into_bytes())));
    }
    let before: Vec<(String, Option<Vec<u8>>)> =
        files.keys().map(|path| (path.clone(), std::fs::read(root.join(path)).ok())).collect();
    let changed = |(path, old): &&(String, Option<Vec<u8>>)| old.as_ref() != files.get(path);
    let changed: Vec<_> = before.iter().filter(changed).collect();
    let result = changed
        .iter()
        .try_for_each(|(path, _)| write(&root.join(path), files.get(path).map(Vec::as_slice)));
    if let Err(error) = result.and_then(|()| accepted(root)) {
        for (path, content) in changed.iter().rev() {
            let _ = write(&root.join(path), content.as_deref());
        }
        remove_empty_folders(root);
        return Err(error);
    }
    let left = former.files.keys().filter(|path| is_inside(path) && !files.contains_key(*path));
    left.map(|path| root.join(path)).try_for_each(|path| write(&path, None))?;
    Ok(match (is_new, changed.is_empty()) {
        (true, _) => Installed::New,
        (false, true) => Installed::Same,
        (false, false) => Installed::Updated,
    })
}

/// Deletes the folders of the launcher that are empty.
pub(crate) fn remove_empty_folders(root: &Path) {
    fn clear(folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()))
        {
            clear(&entry.path());
        }
        let _ = std::fs::remove_dir(folder);
    }
    clear(&root.join(MEMBER));
}

/// Whether cargo reads the workspace with the launcher as a member.
fn accepted(root: &Path) -> Result<(), Error> {
    let refused = |error| match error {
        Error::Program { message, .. } => Error::Refused { message },
        error => error,
    };
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--quiet"];
    let text = run("cargo", &arguments, root).map_err(refused)?;
    let launcher = root.join(MEMBER).join("Cargo.toml");
    let is_member = text.contains(&launcher.display().to_string());
    let message = || "the workspace does not list `xtask` among its members".to_owned();
    if is_member { Ok(()) } else { Err(Error::Refused { message: message() }) }
}

/// A function that edits a text, or says why it cannot be read.
type Change = fn(&str) -> Result<String, toml_edit::TomlError>;

/// The edit of a file of the host, and its inverse.
pub(crate) fn changes(host: &Host) -> [(&'static str, Change, Change); 3] {
    [
        ("Cargo.toml", manifest::with_launcher, manifest::without_launcher),
        (host.config_path(), config::with_alias, config::without_alias),
        (
            "Cargo.lock",
            |text| Ok(lock::with_launcher(text)),
            |text| Ok(lock::without_launcher(text)),
        ),
    ]
}

/// A text after a change that keeps its line ends.
pub(crate) fn changed(path: &Path, text: &str, change: Change) -> Result<String, Error> {
    with_line_ends(text, change)
        .map_err(|error| Error::Format { path: path.to_owned(), message: error.to_string() })
}

/// The edit of each file of the host, and its text with the tool; `None` to leave it alone.
fn edits(host: &Host, former: &Record) -> Result<BTreeMap<String, (Edit, Option<String>)>, Error> {
    let mut edits = BTreeMap::new();
    for (path, change, inverse) in changes(host) {
        let file = host.root.join(path);
        let text = read(&file)?;
        let recorded = former.edits.get(path);
        let is_absent = recorded.map_or(text.is_none(), |it| it.after.is_empty());
        if path == "Cargo.lock" && is_absent {
            // Cargo creates it with the next build. `uninstall` learns that there was none.
            let none = Edit { before: None, reversible: false, after: String::new() };
            edits.insert(path.to_owned(), (none, None));
            continue;
        }
        let after = changed(&file, text.as_deref().unwrap_or_default(), change)?;
        let now = text.as_ref().map(|text| hash(text.as_bytes()));
        let edit = match recorded.filter(|recorded| now.as_ref() == Some(&recorded.after)) {
            Some(recorded) => Edit { after: hash(after.as_bytes()), ..recorded.clone() },
            None => {
                // What the user changed since the installation stays.
                let before = match (&text, recorded) {
                    (Some(text), Some(_)) => Some(changed(&file, text, inverse)?),
                    (text, _) => text.clone(),
                };
                let reversible = path == "Cargo.lock"
                    && before.as_ref().is_some_and(|before| !lock::is_of_old_version(before));
                let before = before.filter(|_| !reversible);
                Edit { before, reversible, after: hash(after.as_bytes()) }
            }
        };
        edits.insert(path.to_owned(), (edit, Some(after)));
    }
    Ok(edits)
}
