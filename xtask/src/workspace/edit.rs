//! Moves names from `depends-on` to `uses` in a `Cargo.toml`, as `check --fix` asks.
//!
//! The rest of the file keeps its formatting. An edit that would lose a comment is not
//! written but returned, so that the author can apply it. The core decides which edges
//! move.

mod array;
mod diff;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use toml_edit::{Array, Decor, DocumentMut, Item, Key, RawString, TableLike, Value};
use xtask_core::plan::Repair;

const DEPENDS_ON: &str = "depends-on";
const USES: &str = "uses";

/// Why a manifest cannot be edited. A file is written only if all edits can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to {operation} `{}`", file.display())]
    Io { operation: &'static str, file: PathBuf, source: io::Error },
    /// The manifest was valid when the repairs were planned.
    #[error("failed to edit `{}`: it is not valid TOML", file.display())]
    Syntax { file: PathBuf, source: toml_edit::TomlError },
    /// The manifest had the name when the repairs were planned.
    #[error(
        "failed to edit `{}`: `depends-on` of `[{table}]` does not contain `{dependency}`",
        file.display()
    )]
    NoSuchName { file: PathBuf, table: String, dependency: String },
    #[error("failed to edit `{}`: `uses` of `[{table}]` is not a list", file.display())]
    NotAList { file: PathBuf, table: String },
}

impl Error {
    /// One command or edit that helps; none if the system's error decides that.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { .. } => None,
            Self::Syntax { .. } | Self::NoSuchName { .. } => {
                Some("`%xtask% check` reads the manifest as it is now")
            }
            Self::NotAList { .. } => Some("write a list, such as `uses = [\"web\"]`"),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// The moves that were written, one line each.
    pub(crate) moved: Vec<String>,
    /// The edits that were not written, because each would lose a comment.
    pub(crate) unwritten: Vec<Edit>,
}

#[derive(Debug)]
pub(crate) struct Edit {
    /// From the workspace's root.
    pub(crate) file: PathBuf,
    before: String,
    after: String,
    moved: Vec<String>,
}

/// Makes the repairs below `root`, with one atomic write for each file. If a write fails, earlier
/// files stay written.
pub(crate) fn apply(root: &Path, repairs: &[Repair]) -> Result<Applied, Error> {
    let files: BTreeSet<&str> = repairs.iter().map(|repair| &*repair.to.span.file).collect();
    let edits = files.into_iter().map(|file| Edit::of(root, file, repairs));
    let mut applied = Applied::default();
    for edit in edits.collect::<Result<Vec<_>, _>>()? {
        if edit.loses_comments() {
            applied.unwritten.push(edit);
        } else {
            replace(&root.join(&edit.file), &edit.after).map_err(|source| Error::Io {
                operation: "write",
                file: edit.file,
                source,
            })?;
            applied.moved.extend(edit.moved);
        }
    }
    Ok(applied)
}

impl Edit {
    fn of(root: &Path, file: &str, repairs: &[Repair]) -> Result<Self, Error> {
        let before = fs::read_to_string(root.join(file)).map_err(|source| Error::Io {
            operation: "read",
            file: file.into(),
            source,
        })?;
        let (mut after, mut moves) = (before.clone(), Vec::new());
        for repair in repairs.iter().filter(|repair| repair.to.span.file == file) {
            after = moved(&after, repair)?;
            moves.push(format!(
                "moved `{}` from `depends-on` to `uses` in `[{}]` of `{file}`",
                repair.to.value,
                repair.table.join("."),
            ));
        }
        Ok(Self { file: file.into(), before, after, moved: moves })
    }

    /// No edit changes a `#` within a string, so that counting them counts comments.
    fn loses_comments(&self) -> bool {
        self.after.matches('#').count() < self.before.matches('#').count()
    }

    pub(crate) fn diff(&self) -> String {
        diff::unified(&self.file.display().to_string(), &self.before, &self.after)
    }
}

/// Replaces the file's content in one step. Permissions and symbolic links stay.
pub(crate) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(fs::metadata(&file)?.permissions())?;
    new.as_file().sync_all()?;
    new.persist(&file)?;
    Ok(())
}

/// The manifest's text with one name moved.
fn moved(text: &str, repair: &Repair) -> Result<String, Error> {
    let file = PathBuf::from(&repair.to.span.file);
    let (name, table) = (&repair.to.value, repair.table.join("."));
    let mut document: DocumentMut =
        text.parse().map_err(|source| Error::Syntax { file: file.clone(), source })?;
    let mut keys = repair.table.iter();
    let service = keys.try_fold(document.as_item_mut(), |item, key| {
        item.as_table_like_mut().and_then(|table| table.get_mut(key))
    });
    if service.as_ref().and_then(|service| service.get(USES)).is_some_and(|uses| !uses.is_array()) {
        return Err(Error::NotAList { file, table });
    }
    if service.and_then(|service| change(service, |service| relax(service, name))) != Some(true) {
        return Err(Error::NoSuchName { file, table, dependency: name.clone() });
    }
    let out = document.to_string();
    // The writer knows one kind of line end.
    Ok(if text.contains("\r\n") { out.replace("\r\n", "\n").replace('\n', "\r\n") } else { out })
}

/// Moves the name in the table of a service; false if `depends-on` does not contain it.
fn relax(service: &mut dyn TableLike, name: &str) -> bool {
    let (is_empty, replacement) = match service.get_mut(DEPENDS_ON) {
        Some(Item::Value(Value::Array(names))) => {
            let before = names.clone();
            array::remove_all(names, name);
            if names.len() == before.len() {
                return false;
            }
            // The only name stays where it is, in an array of another name.
            (names.is_empty(), (before.len() == 1).then_some(Value::Array(before)))
        }
        Some(names) => {
            if change(names, |names| names.remove(name)).flatten().is_none() {
                return false;
            }
            let space = names.as_value().map(|value| value.decor().clone());
            let replacement = space.map(|space| {
                let mut value = Value::Array(Array::from_iter([name]));
                *value.decor_mut() = space;
                value
            });
            (names.as_table_like().is_some_and(TableLike::is_empty), replacement)
        }
        None => return false,
    };
    if let Some(Item::Value(Value::Array(uses))) = service.get_mut(USES) {
        array::push(uses, name);
    } else if let (true, Some(value)) = (is_empty, replacement) {
        insert_uses(service, value, true);
    } else {
        let value = Value::Array(Array::from_iter([name])).decorated(" ", "");
        insert_uses(service, value, false);
    }
    if is_empty {
        service.remove(DEPENDS_ON);
    }
    true
}

/// Inserts `uses` behind `depends-on`: in its layout with the comments above it, or only
/// as far indented.
fn insert_uses(service: &mut dyn TableLike, value: Value, takes_comments: bool) {
    let mut key = Key::new(USES);
    if let Some(old) = service.key(DEPENDS_ON) {
        let mut space = old.leaf_decor().clone();
        if !takes_comments {
            let above = text(space.prefix());
            let indent = above.rsplit('\n').next().unwrap_or_default().to_owned();
            space = Decor::new(indent, " ");
        }
        key = key.with_leaf_decor(space);
    }
    // A table can only append: the entries behind are removed and appended again.
    let names: Vec<String> = service.iter().map(|(name, _)| name.to_owned()).collect();
    let behind: Vec<(Key, Item)> = names
        .iter()
        .skip_while(|name| *name != DEPENDS_ON)
        .skip(1)
        .filter_map(|name| Some((service.key(name)?.clone(), service.remove(name)?)))
        .collect();
    service.entry_format(&key).or_insert(Item::Value(value));
    for (key, item) in behind {
        service.entry_format(&key).or_insert(item);
    }
}

/// Changes a table. In `{ … }` the space before the closing brace belongs to the last
/// value, and passes to the one that is the last afterwards.
fn change<T>(item: &mut Item, how: impl FnOnce(&mut dyn TableLike) -> T) -> Option<T> {
    let inline = item.is_inline_table();
    let table = item.as_table_like_mut()?;
    let space = if inline { replace_last_suffix(table, "") } else { None };
    let out = how(table);
    if let Some(space) = space {
        replace_last_suffix(table, &space);
    }
    Some(out)
}

fn replace_last_suffix(table: &mut dyn TableLike, suffix: &str) -> Option<String> {
    let (_, last) = table.iter_mut().last()?;
    let decor = last.as_value_mut()?.decor_mut();
    let before = text(decor.suffix()).to_owned();
    decor.set_suffix(suffix);
    Some(before)
}

/// The space and comments around a key or value.
fn text(space: Option<&RawString>) -> &str {
    space.and_then(RawString::as_str).unwrap_or_default()
}
