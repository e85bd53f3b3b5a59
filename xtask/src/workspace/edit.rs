//! Edits of a `Cargo.toml` that turn a waiting edge into one that only knows the
//! address: a name moves from `depends-on` to `uses`.
//!
//! Which edges move is decided elsewhere. Whatever else stands in the file stays as
//! it is, comments too: those of the moved name go with it.

mod comments;
mod list;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Key, TableLike, Value};
use xtask_core::plan::Repair;

use comments::Comments;
use list::{Element, List};

const DEPENDS_ON: &str = "depends-on";
const USES: &str = "uses";

/// One edge to turn from `depends-on` into `uses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// The manifest that declares the edge, from the workspace's root.
    pub(crate) file: PathBuf,
    /// The keys that lead to the table with the `depends-on`, for example `package`,
    /// `metadata`, `service`, `with`, `postgres`.
    pub(crate) service_path: Vec<String>,
    /// The name to move.
    pub(crate) dependency: String,
}

impl From<&Repair> for Move {
    fn from(repair: &Repair) -> Self {
        Self {
            file: repair.to.span.file.clone().into(),
            service_path: repair.table.clone(),
            dependency: repair.to.value.clone(),
        }
    }
}

/// Why a manifest could not be edited. No file is written unless all edits can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file could not be read.
    #[error("cannot read `{}`", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It is not TOML, most likely because it was changed a moment ago.
    #[error("cannot edit `{}`: it is not valid TOML", file.display())]
    Syntax {
        /// Which.
        file: PathBuf,
        /// Where and why.
        source: toml_edit::TomlError,
    },
    /// The edge is not there, most likely because the file was changed a moment ago.
    #[error(
        "cannot edit `{}`: expected `{dependency}` in `depends-on` of `[{table}]`, found none\n\
         hint: run the command again",
        file.display()
    )]
    NotThere {
        /// Which.
        file: PathBuf,
        /// The table that was looked at.
        table: String,
        /// The name that is missing.
        dependency: String,
    },
    /// `uses` is something to which no name can be added.
    #[error("cannot edit `{}`: `uses` of `[{table}]` is not a list", file.display())]
    NotAList {
        /// Which.
        file: PathBuf,
        /// The table that holds it.
        table: String,
    },
    /// The new text could not be put in place; the old one stands.
    #[error("cannot write `{}`", file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Makes the moves below `root`, one atomic write a file, and says in one line each what
/// changed.
///
/// # Errors
/// See [`Error`]. A file that is written is written whole; of several files some may
/// have been written when a later one fails.
pub(crate) fn apply(root: &Path, moves: &[Move]) -> Result<Vec<String>, Error> {
    let mut edited: Vec<(&Path, String)> = Vec::new();
    let mut said = Vec::new();
    for step in moves {
        let place = match edited.iter().position(|(file, _)| *file == step.file) {
            Some(place) => place,
            None => {
                let file = step.file.clone();
                let text = fs::read_to_string(root.join(&file));
                let text = text.map_err(|source| Error::Read { file, source })?;
                edited.push((&step.file, text));
                edited.len() - 1
            }
        };
        edited[place].1 = moved(&edited[place].1, step)?;
        said.push(format!(
            "moved `{}` from `depends-on` to `uses` in `[{}]` of `{}`",
            step.dependency,
            step.service_path.join("."),
            step.file.display(),
        ));
    }
    for (file, text) in edited {
        replace(&root.join(file), &text)
            .map_err(|source| Error::Write { file: file.into(), source })?;
    }
    Ok(said)
}

/// Puts the text in the file's place in one step, permissions kept. A link stays one.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(fs::metadata(&file)?.permissions())?;
    new.as_file().sync_all()?;
    new.persist(&file)?;
    Ok(())
}

/// The manifest's text with one edge moved.
fn moved(text: &str, step: &Move) -> Result<String, Error> {
    let mut document: DocumentMut =
        text.parse().map_err(|source| Error::Syntax { file: step.file.clone(), source })?;
    let mut item = document.as_item_mut();
    for key in &step.service_path {
        item = item
            .as_table_like_mut()
            .and_then(|table| table.get_mut(key))
            .ok_or_else(|| step.not_there())?;
    }
    let inline = item.is_inline_table();
    let table = item.as_table_like_mut().ok_or_else(|| step.not_there())?;
    Service { table, inline }.relax(step)?;

    let out = document.to_string();
    // The writer knows one kind of line end.
    Ok(if text.contains("\r\n") { out.replace("\r\n", "\n").replace('\n', "\r\n") } else { out })
}

impl Move {
    fn not_there(&self) -> Error {
        Error::NotThere {
            file: self.file.clone(),
            table: self.service_path.join("."),
            dependency: self.dependency.clone(),
        }
    }
}

/// The table that declares the edges.
struct Service<'a> {
    table: &'a mut dyn TableLike,
    /// Whether it is `{ … }`, where no comment can stand above a key.
    inline: bool,
}

impl Service<'_> {
    fn relax(&mut self, step: &Move) -> Result<(), Error> {
        let name = &step.dependency;
        if self.table.get(USES).is_some_and(|uses| !uses.is_array()) {
            return Err(Error::NotAList {
                file: step.file.clone(),
                table: step.service_path.join("."),
            });
        }
        match self.table.get(DEPENDS_ON) {
            Some(Item::Value(Value::Array(array))) => {
                let mut list = List::read(array);
                let mut element = list.take(name).ok_or_else(|| step.not_there())?;
                while let Some(again) = list.take(name) {
                    element.comments.extend(again.comments);
                }
                if list.elements.is_empty() {
                    self.rename(list, element);
                } else {
                    let close = list.close.clone();
                    self.set(DEPENDS_ON, Value::Array(list.write()));
                    self.add(element, Some(close));
                }
            }
            Some(item) if item.as_table_like().is_some_and(|table| table.contains_key(name)) => {
                let comments = self.take_from_table(name);
                let empty = self
                    .table
                    .get(DEPENDS_ON)
                    .is_some_and(|item| item.as_table_like().is_some_and(TableLike::is_empty));
                if empty && self.table.get(DEPENDS_ON).is_some_and(Item::is_inline_table) {
                    self.rename(List::default(), Element::new(name, comments));
                } else {
                    let mut comments = comments;
                    if empty {
                        comments.extend(self.remove_table());
                    }
                    self.add(Element::new(name, comments), None);
                }
            }
            _ => return Err(step.not_there()),
        }
        Ok(())
    }

    /// Removes the name from `depends-on = { … }`, or from the table of that name.
    fn take_from_table(&mut self, name: &str) -> Comments {
        let Some(depends_on) = self.table.get_mut(DEPENDS_ON) else { return Comments::default() };
        let inline = depends_on.is_inline_table();
        let Some(table) = depends_on.as_table_like_mut() else { return Comments::default() };
        let comments = comments::of_entry(table, name);
        let suffix = comments::suffix(table.get(name));
        let last = table.iter().last().is_some_and(|(key, _)| key == name);
        table.remove(name);
        if inline && last {
            // The space before the brace belongs to whichever entry is the last.
            if let Some((_, Item::Value(value))) = table.iter_mut().last() {
                value.decor_mut().set_suffix(suffix);
            }
        }
        comments
    }

    /// Removes the empty `[….depends-on]`.
    fn remove_table(&mut self) -> Comments {
        let comments = comments::of_entry(self.table, DEPENDS_ON);
        self.table.remove(DEPENDS_ON);
        comments
    }

    /// The last name leaves `depends-on`: without a `uses` yet it becomes that, where
    /// it stands and with what stands around it.
    fn rename(&mut self, mut rest: List, mut element: Element) {
        let old = self.table.key(DEPENDS_ON).cloned();
        if self.table.contains_key(USES) {
            element.comments.extend(rest.comments());
            element.comments.extend(comments::of_entry(self.table, DEPENDS_ON));
            self.remove_last_suffix();
            self.add(element, None);
            return;
        }
        let above =
            if self.inline || element.broken { Vec::new() } else { element.comments.take_lines() };
        let decor = match self.table.get(DEPENDS_ON) {
            Some(Item::Value(value)) => Some(value.decor().clone()),
            _ => None,
        };
        rest.push(element);
        let mut value = Value::Array(rest.write());
        if let Some(decor) = decor {
            *value.decor_mut() = decor;
        }
        let key = old.map_or_else(|| Key::new(USES), |old| comments::renamed(&old, USES));
        self.insert_after(DEPENDS_ON, &key, value);
        self.table.remove(DEPENDS_ON);
        self.put_above(&above);
    }

    /// Removes `depends-on`, and hands the space before a closing brace on.
    fn remove_last_suffix(&mut self) {
        let suffix = comments::suffix(self.table.get(DEPENDS_ON));
        let last = self.table.iter().last().is_some_and(|(key, _)| key == DEPENDS_ON);
        self.table.remove(DEPENDS_ON);
        if self.inline
            && last
            && let Some((_, Item::Value(value))) = self.table.iter_mut().last()
        {
            value.decor_mut().set_suffix(suffix);
        }
    }

    /// Adds the name to `uses`, which is made if it is not there; `close` is what stands
    /// before the bracket of the list that it comes from.
    fn add(&mut self, mut element: Element, close: Option<list::Lead>) {
        if let Some(Item::Value(Value::Array(array))) = self.table.get(USES) {
            let mut list = List::read(array);
            if let Some(known) = list.find(&element.name) {
                known.comments.extend(element.comments);
                self.set(USES, Value::Array(list.write()));
                return;
            }
            let above = if list.is_broken() || self.inline {
                Vec::new()
            } else {
                element.comments.take_lines()
            };
            element.broken = list.is_broken();
            list.push(element);
            self.set(USES, Value::Array(list.write()));
            self.put_above(&above);
            return;
        }
        let keep_lines = element.broken && !element.comments.is_empty() || self.inline;
        let above = if keep_lines { Vec::new() } else { element.comments.take_lines() };
        element.broken &= keep_lines;
        let mut list = List::default();
        if let Some(close) = close.filter(|_| element.broken) {
            // Its comments stay where they are.
            let close = list::Lead { above: Vec::new(), ..close };
            list = List { close, trailing_comma: true, ..list };
        }
        list.push(element);
        let mut value = Value::Array(list.write());
        let mut key = Key::new(USES);
        if let Some(Item::Value(old)) = self.table.get_mut(DEPENDS_ON) {
            value.decor_mut().set_prefix(" ");
            if self.inline {
                // Whichever comes last has the space before the brace.
                let suffix = old.decor().suffix().and_then(|s| s.as_str()).unwrap_or("").to_owned();
                old.decor_mut().set_suffix("");
                value.decor_mut().set_suffix(suffix);
            }
        }
        let indent = self.table.key(DEPENDS_ON).map(comments::indent).unwrap_or_default();
        key.leaf_decor_mut().set_prefix(if self.inline { " ".to_owned() } else { indent });
        key.leaf_decor_mut().set_suffix(" ");
        self.insert_after(DEPENDS_ON, &key, value);
        self.put_above(&above);
    }

    /// Replaces a value, keeping what stands around it.
    fn set(&mut self, key: &str, mut value: Value) {
        if let Some(Item::Value(old)) = self.table.get_mut(key) {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
    }

    /// Writes comment lines above `uses`.
    fn put_above(&mut self, lines: &[String]) {
        if let Some(mut key) = self.table.key_mut(USES)
            && !lines.is_empty()
        {
            let decor = key.leaf_decor_mut();
            let prefix = decor.prefix().and_then(|p| p.as_str()).unwrap_or("").to_owned();
            let indent = prefix.rsplit('\n').next().unwrap_or("").to_owned();
            let mut above = prefix[..prefix.len() - indent.len()].to_owned();
            for line in lines {
                above.extend([&indent, line.as_str(), "\n"]);
            }
            decor.set_prefix(above + &indent);
        }
    }

    /// Inserts after an entry, or at the end: what follows is taken out and put back,
    /// because a table can only append.
    fn insert_after(&mut self, after: &str, key: &Key, value: Value) {
        let following: Vec<String> = self
            .table
            .iter()
            .skip_while(|(key, _)| *key != after)
            .skip(1)
            .map(|(key, _)| key.to_owned())
            .collect();
        let following: Vec<(Key, Item)> = following
            .iter()
            .filter_map(|name| Some((self.table.key(name)?.clone(), self.table.remove(name)?)))
            .collect();
        self.table.entry_format(key).or_insert(Item::Value(value));
        for (key, item) in following {
            self.table.entry_format(&key).or_insert(item);
        }
    }
}
