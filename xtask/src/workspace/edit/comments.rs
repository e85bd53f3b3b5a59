//! Comments as lines, taken out of the space around keys and values.
//!
//! Blank lines between them are layout, and are not kept.

use toml_edit::{Item, Key, RawString, TableLike};

/// The comments of one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Comments {
    /// Lines of their own above it; in a list with their indentation.
    pub(crate) above: Vec<String>,
    /// Behind it on its own line, with the space before the `#`.
    pub(crate) behind: Option<String>,
}

impl Comments {
    pub(crate) fn is_empty(&self) -> bool {
        self.above.is_empty() && self.behind.is_none()
    }

    /// Adds those of something else that is merged into this.
    pub(crate) fn extend(&mut self, mut other: Self) {
        self.above.extend(other.take_lines());
    }

    /// All of them as lines, and none is left.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.above.drain(..).chain(self.behind.take()).map(|line| line.trim().to_owned()).collect()
    }
}

/// The comments above and behind an entry of a table, and those inside if it is a
/// table itself.
pub(crate) fn of_entry(table: &dyn TableLike, name: &str) -> Comments {
    let mut found = Comments::default();
    let Some((key, item)) = table.get_key_value(name) else { return found };
    found.above = lines(key.leaf_decor().prefix());
    match item {
        Item::Value(value) => {
            let behind = lines(value.decor().suffix()).into_iter().next();
            found.behind = behind.map(|comment| format!("  {comment}"));
        }
        Item::Table(inner) => {
            found.above.extend(lines(inner.decor().prefix()));
            found.above.extend(lines(inner.decor().suffix()));
            for (name, _) in inner.iter() {
                found.extend(of_entry(inner, name));
            }
        }
        Item::None | Item::ArrayOfTables(_) => {}
    }
    found
}

/// What stands behind a value, comment or space; nothing for a table.
pub(crate) fn suffix(item: Option<&Item>) -> String {
    let Some(Item::Value(value)) = item else { return String::new() };
    text(value.decor().suffix()).to_owned()
}

/// A key of another name with the same space and comments around it.
pub(crate) fn renamed(old: &Key, name: &str) -> Key {
    Key::new(name)
        .with_leaf_decor(old.leaf_decor().clone())
        .with_dotted_decor(old.dotted_decor().clone())
}

/// The space before a key on its own line.
pub(crate) fn indent(key: &Key) -> String {
    text(key.leaf_decor().prefix()).rsplit('\n').next().unwrap_or("").to_owned()
}

/// The comments in the space around something, each from `#` on.
pub(crate) fn lines(space: Option<&RawString>) -> Vec<String> {
    in_text(text(space))
}

/// The comments in a text of nothing but space and comments.
pub(crate) fn in_text(space: &str) -> Vec<String> {
    space.lines().map(str::trim).filter(|line| line.starts_with('#')).map(str::to_owned).collect()
}

/// The space as it stands in the file.
pub(crate) fn text(space: Option<&RawString>) -> &str {
    space.and_then(RawString::as_str).unwrap_or("")
}
