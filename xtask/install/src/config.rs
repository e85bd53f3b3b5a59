//! Edits cargo's settings of the host: the alias `cargo xtask`, and the launcher's profile.

use toml_edit::{DocumentMut, Item, Table, TomlError, value};

use crate::MEMBER;

/// What the alias executes.
const ALIAS: &str = "run --quiet --profile launcher --package xtask --";

/// The profile of the launcher: a folder, and so a lock, that no other build holds.
const PROFILE: &str = "launcher";

/// The settings with alias and profile.
pub(crate) fn with_alias(text: &str) -> Result<String, TomlError> {
    let mut config: DocumentMut = text.parse()?;
    if let Some(aliases) = table(config.as_table_mut(), "alias", false) {
        aliases.insert(MEMBER, value(ALIAS));
    }
    let profiles = table(config.as_table_mut(), "profile", true);
    if let Some(profile) = profiles.and_then(|profiles| table(profiles, PROFILE, false)) {
        profile.insert("inherits", value("dev"));
    }
    Ok(config.to_string())
}

/// What the settings already have of what [`with_alias`] adds, with other content.
pub(crate) fn taken(text: &str) -> Result<Option<String>, TomlError> {
    let config: DocumentMut = text.parse()?;
    let get = |path: [&str; 2]| config.get(path[0])?.as_table_like()?.get(path[1]);
    if get(["alias", MEMBER]).is_some_and(|alias| alias.as_str() != Some(ALIAS)) {
        return Ok(Some("an alias `xtask`".to_owned()));
    }
    let inherits = |profile: &Item| profile.get("inherits").and_then(Item::as_str) == Some("dev");
    let is_other = get(["profile", PROFILE]).is_some_and(|profile| !inherits(profile));
    Ok(is_other.then(|| "a profile `launcher`".to_owned()))
}

/// The settings without what [`with_alias`] adds. Tables that are empty then go too.
pub(crate) fn without_alias(text: &str) -> Result<String, TomlError> {
    let mut config: DocumentMut = text.parse()?;
    for (name, key) in [("alias", MEMBER), ("profile", PROFILE)] {
        let Some(table) = config.get_mut(name).and_then(Item::as_table_like_mut) else { continue };
        table.remove(key);
        if table.is_empty() {
            config.remove(name);
        }
    }
    Ok(config.to_string())
}

/// The table of that name, which may be new.
fn table<'a>(
    parent: &'a mut dyn toml_edit::TableLike,
    name: &str,
    implicit: bool,
) -> Option<&'a mut dyn toml_edit::TableLike> {
    let new = || {
        let mut table = Table::new();
        table.set_implicit(implicit);
        Item::Table(table)
    };
    parent.entry(name).or_insert_with(new).as_table_like_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDED: &str = "[profile.launcher]\ninherits = \"dev\"\n";

    #[test]
    fn alias_is_added_beside_what_is_there() {
        let alias = format!("xtask = \"{ALIAS}\"\n");
        let ours = "# ours\n[alias]\nlint = \"clippy\" # often\n";
        let env = "\n[env]\nOUR_SETTING = \"1\"\n";
        for (text, expected) in [
            (String::new(), format!("[alias]\n{alias}\n{ADDED}")),
            (format!("{ours}{env}"), format!("{ours}{alias}{env}\n{ADDED}")),
        ] {
            let with = with_alias(&text).unwrap();
            assert_eq!(with, expected);
            assert_eq!(with_alias(&with).unwrap(), with);
            assert_eq!(without_alias(&with).unwrap(), text);
        }
    }

    #[test]
    fn alias_of_the_workspace_is_found() {
        assert!(taken("[alias]\nxtask = \"run -p xtask --\"\n").unwrap().is_some());
        assert!(taken("[profile.launcher]\ninherits = \"release\"\n").unwrap().is_some());
        assert!(taken(&with_alias("").unwrap()).unwrap().is_none());
    }
}
