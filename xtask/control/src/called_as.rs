//! The tool's name in messages, as the user typed it: `cargo services` or `target/debug/xtask`.
//!
//! Texts are made with [`TOOL`] in place of the name, also in a supervisor that another command
//! started. A text is named where it leaves: in the filter in front of the terminal, and where a
//! test reads an answer of a supervisor.

use std::borrow::Cow;
use std::sync::OnceLock;

pub use xtask_core::terms::TOOL;

/// The variable by which a program that starts the tool for a user passes the name on.
pub const CALLED_AS_VARIABLE: &str = "XTASK_CALLED_AS";

/// The name of a workspace's own tool.
pub const ALIAS: &str = "cargo xtask";

static NAME: OnceLock<String> = OnceLock::new();

/// Sets the name for this process, before the first text is shown. Later calls change nothing.
pub fn set(name: String) {
    let _ = NAME.set(name);
}

/// The name. Unless it was set, that of the variable, or [`ALIAS`].
pub fn name() -> &'static str {
    let given = || std::env::var(CALLED_AS_VARIABLE).ok().filter(|name| !name.is_empty());
    NAME.get_or_init(|| given().unwrap_or_else(|| ALIAS.to_owned()))
}

/// A text with the name in its places.
pub fn named(text: &str) -> Cow<'_, str> {
    replaced(text, name())
}

/// As [`named`], for JSON.
pub fn named_json(json: &str) -> Cow<'_, str> {
    if !json.contains(TOOL) {
        return Cow::Borrowed(json);
    }
    let name = serde_json::Value::from(name()).to_string();
    replaced(json, name.trim_start_matches('"').strip_suffix('"').unwrap_or_default())
}

fn replaced<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    match text.contains(TOOL) {
        true => Cow::Owned(text.replace(TOOL, name)),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_inserted_in_texts_and_json() {
        set("./a \"copy\"".to_owned());
        assert_eq!(named(&format!("`{TOOL} up`")), "`./a \"copy\" up`");
        assert_eq!(named("plain"), "plain");
        let json = serde_json::json!({ "reason": format!("`{TOOL} up`") }).to_string();
        let value: serde_json::Value = serde_json::from_str(&named_json(&json)).unwrap();
        assert_eq!(value["reason"], "`./a \"copy\" up`");
    }
}
