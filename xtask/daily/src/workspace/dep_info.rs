//! Reads the `.d` files that cargo writes beside each program: `PROGRAM: SOURCE SOURCE …`.
//!
//! They list the sources of all packages with a path, and the files that build scripts and macros
//! such as `include_str!` read.

use std::path::PathBuf;

/// The sources that a `.d` file lists. Blanks in them are escaped.
pub(crate) fn sources(text: &str) -> Vec<PathBuf> {
    let Some((_, sources)) = text.split_once(": ") else { return Vec::new() };
    let sources = sources.lines().next().unwrap_or_default().replace("\\ ", "\0");
    let sources = sources.split_ascii_whitespace();
    sources.map(|source| PathBuf::from(source.replace('\0', " "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_paths_are_kept() {
        let text = "/t/a\\ b/app: /w/a\\ b/main.rs /w/lib.rs\n";
        assert_eq!(sources(text), ["/w/a b/main.rs", "/w/lib.rs"].map(PathBuf::from));
        assert_eq!(sources(""), Vec::<PathBuf>::new());
    }
}
