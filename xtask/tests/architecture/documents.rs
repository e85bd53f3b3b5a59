//! The documents: the paths and links in them exist, and the two that are read first are short.
//!
//! It reads no prose. The changelog is left out, because it may name files of the past.

use std::fs;

use crate::{holds, root};

/// The folders whose files a document names by their path from the root.
const FOLDERS: [&str; 7] =
    ["xtask/", "services/", "template/", "tests/", "docs/", ".ci/", ".config/"];

/// The most lines of README and ARCHITECTURE.
const MOST_LINES: usize = 200;

/// The documents, as paths from the root.
fn documents() -> Vec<String> {
    let mut found = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(str::to_owned).to_vec();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        found.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    found
}

/// The repository paths in backticks outside code blocks, and the targets of links to files.
/// Link targets are relative to the document, so `folder` is put before them.
fn named(text: &str, folder: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let is_path = |word: &&str| {
        FOLDERS.iter().any(|folder| word.starts_with(folder))
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
    };
    let paths = prose.split('`').skip(1).step_by(2).filter(is_path).map(str::to_owned);
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
    paths.chain(links.map(|link| format!("{folder}{link}"))).collect()
}

#[test]
fn documents_name_only_existing_paths() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).unwrap();
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| &document[..=folder.len()]);
        // An emptied file is as bad as a missing one.
        let has_content = |path: &String| {
            fs::metadata(root().join(path)).is_ok_and(|data| data.is_dir() || data.len() > 0)
        };
        let missing = named(&text, folder).into_iter().filter(|path| !has_content(path));
        wrong.extend(missing.map(|path| format!("{document}: `{path}` is missing or empty")));
    }
    holds(wrong);
}

#[test]
fn readme_and_architecture_stay_short() {
    for document in ["README.md", "ARCHITECTURE.md"] {
        let lines = fs::read_to_string(root().join(document)).unwrap().lines().count();
        assert!(lines <= MOST_LINES, "{document}: {lines} lines, of {MOST_LINES} at most");
    }
}

#[test]
fn paths_and_links_are_found_in_prose() {
    let text = "`xtask/a.rs`, `services/*`, `run tests/x`, [b](c.md#d), [e](#f), <https://g>\n\
                ```toml\n`xtask/in-a-block`\n```\n[h](../i.md) and `.ci/run`\n";
    assert_eq!(named(text, "docs/"), ["xtask/a.rs", ".ci/run", "docs/c.md", "docs/../i.md"]);
}
