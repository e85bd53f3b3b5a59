//! Edits the host's root manifest: one more member, and the tool's workspace excluded.

use toml_edit::{Array, DocumentMut, Item, Table, TomlError, Value};

use crate::{MEMBER, TOOL};

/// The folder of cargo's settings.
const SETTINGS: &str = ".cargo";

/// The manifest with the launcher as a member and the tool excluded.
pub(crate) fn with_launcher(text: &str) -> Result<String, TomlError> {
    let mut manifest: DocumentMut = text.parse()?;
    let workspace = manifest.entry("workspace").or_insert_with(|| Item::Table(Table::new()));
    let Some(workspace) = workspace.as_table_like_mut() else { return Ok(text.to_owned()) };
    if !has(workspace, "members", MEMBER) {
        push(workspace, "members", MEMBER);
    }
    // Cargo refuses a folder without a manifest that a pattern of members covers.
    let excluded = has(workspace, "members", SETTINGS).then_some(SETTINGS);
    for folder in excluded.into_iter().chain([TOOL]) {
        if !has(workspace, "exclude", folder) {
            push(workspace, "exclude", folder);
        }
    }
    Ok(manifest.to_string())
}

/// Whether the manifest excludes the launcher's folder.
pub(crate) fn excludes_launcher(text: &str) -> Result<bool, TomlError> {
    let manifest: DocumentMut = text.parse()?;
    let workspace = manifest.get("workspace").and_then(Item::as_table_like);
    Ok(workspace.is_some_and(|workspace| has(workspace, "exclude", MEMBER)))
}

/// The manifest without what [`with_launcher`] adds. Keys and tables that are empty then go too.
pub(crate) fn without_launcher(text: &str) -> Result<String, TomlError> {
    let mut manifest: DocumentMut = text.parse()?;
    let Some(workspace) = manifest.get_mut("workspace").and_then(Item::as_table_like_mut) else {
        return Ok(text.to_owned());
    };
    for (key, name) in [("members", MEMBER), ("exclude", TOOL)] {
        let Some(array) = workspace.get_mut(key).and_then(Item::as_array_mut) else { continue };
        let found = array.iter().position(|value| value.as_str() == Some(name));
        if let Some(index) = found {
            let prefix = prefix(&array.remove(index));
            // A comment on the line before stays.
            let comment = prefix.rfind('\n').map_or("", |line| prefix[..line].trim_end());
            if !comment.is_empty() && index == array.len() {
                let trailing = array.trailing().as_str().unwrap_or_default();
                array.set_trailing(format!("{comment}{trailing}"));
            } else if let Some(next) = array.get_mut(index).filter(|_| !comment.is_empty()) {
                let prefix = self::prefix(next);
                next.decor_mut().set_prefix(format!("{comment}{prefix}"));
            }
            if array.is_empty() {
                workspace.remove(key);
            }
        }
    }
    if workspace.is_empty() {
        manifest.remove("workspace");
    }
    Ok(manifest.to_string())
}

/// Whether one of the patterns in an array matches a folder.
fn has(table: &dyn toml_edit::TableLike, key: &str, folder: &str) -> bool {
    let patterns = table.get(key).and_then(Item::as_array).into_iter().flat_map(Array::iter);
    patterns.filter_map(Value::as_str).any(|pattern| {
        let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
        pattern == "**" || glob(pattern.as_bytes(), folder.as_bytes())
    })
}

/// Whether a pattern with `*` and `?` matches a path; both match no `/`.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let has_next = name.first().is_some_and(|first| *first != b'/');
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => glob(&pattern[1..], name) || has_next && glob(pattern, &name[1..]),
        (Some(b'?'), Some(_)) if has_next => glob(&pattern[1..], &name[1..]),
        (Some(one), Some(other)) => one == other && glob(&pattern[1..], &name[1..]),
        _ => false,
    }
}

/// What is in front of an element: blanks, line ends and comments.
fn prefix(value: &Value) -> String {
    value.decor().prefix().and_then(|raw| raw.as_str()).unwrap_or_default().to_owned()
}

/// Appends a text to an array, which may be new, in the layout of the elements before it.
fn push(table: &mut dyn toml_edit::TableLike, key: &str, text: &str) {
    let item = table.entry(key).or_insert_with(|| Item::Value(Array::new().into()));
    let Some(array) = item.as_array_mut() else { return };
    let last = array.iter().last().map(prefix).unwrap_or_default();
    let mut value = Value::from(text);
    if let Some(line) = last.rfind('\n') {
        // A comment after the last element stays on its line.
        let trailing = array.trailing().as_str().unwrap_or_default().to_owned();
        let comment = trailing.trim_end().to_owned();
        value.decor_mut().set_prefix(format!("{comment}{}", &last[line..]));
        if !comment.is_empty() {
            array.set_trailing(&trailing[comment.len()..]);
        }
    } else if !array.is_empty() {
        value.decor_mut().set_prefix(" ");
    }
    array.push_formatted(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_gains_one_member_and_keeps_its_layout() {
        for (text, expected) in [
            (
                "[workspace]\nmembers = [\"a\"] # ours\n",
                "[workspace]\nmembers = [\"a\", \"xtask\"] # ours\nexclude = [\"xtask/tool\"]\n",
            ),
            (
                "[workspace]\nmembers = [\n    \"a\",\n    \"b\", # why\n]\nexclude = [\"c\"]\n",
                "[workspace]\nmembers = [\n    \"a\",\n    \"b\", # why\n    \"xtask\",\n]\n\
                 exclude = [\"c\", \"xtask/tool\"]\n",
            ),
            (
                "[workspace]\nmembers = [\"x*\"]\n",
                "[workspace]\nmembers = [\"x*\"]\nexclude = [\"xtask/tool\"]\n",
            ),
            (
                "[package]\nname = \"one\"\n",
                "[package]\nname = \"one\"\n\n[workspace]\nmembers = [\"xtask\"]\n\
                 exclude = [\"xtask/tool\"]\n",
            ),
        ] {
            let with = with_launcher(text).unwrap();
            assert_eq!(with, expected);
            assert_eq!(with_launcher(&with).unwrap(), with);
            let without: DocumentMut = without_launcher(&with).unwrap().parse().unwrap();
            let original: DocumentMut = text.parse().unwrap();
            assert_eq!(without.to_string().trim_end(), original.to_string().trim_end());
        }
    }

    #[test]
    fn patterns_match_the_launcher_as_cargo_matches_them() {
        for (pattern, is_match) in
            [("*", true), ("x*k", true), ("./xtask/", true), ("xtas?", true), ("services/*", false)]
        {
            let manifest = format!("[workspace]\nexclude = [\"{pattern}\"]\n");
            assert_eq!(excludes_launcher(&manifest).unwrap(), is_match, "{pattern}");
        }
    }
}
