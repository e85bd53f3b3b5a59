//! The patterns of `watch` in the metadata, as globset reads them.

use globset::{Error, GlobBuilder, GlobMatcher};

/// The matcher of a pattern. `*` matches no `/`.
///
/// # Errors
/// When the text is no pattern.
pub(crate) fn pattern(text: &str) -> Result<GlobMatcher, Error> {
    Ok(GlobBuilder::new(text).literal_separator(true).build()?.compile_matcher())
}

#[cfg(test)]
mod tests {
    use xtask::workspace::glob::mistake;

    use super::*;

    #[test]
    fn planning_and_watcher_refuse_the_same_patterns() {
        for good in [
            "",
            "a",
            "config/*.toml",
            "**/*.{css,js}",
            "a[b-d]",
            "[]]",
            "[!a]",
            "[^]]",
            "[-a]",
            "[a-]",
            "\\[",
            "a\\\\",
            "a,b",
            "]",
            "?",
            "{a,[}]}",
            "a**b",
            "[a-c-e]",
            "[\\]",
        ] {
            assert_eq!((pattern(good).is_ok(), mistake(good)), (true, None), "{good}");
        }
        for bad in ["[", "a[!", "[]", "[^]", "[z-a]", "{a", "a}", "{a,{b}", "a\\", "{[}"] {
            assert!(pattern(bad).is_err() && mistake(bad).is_some(), "{bad}");
        }
    }
}
