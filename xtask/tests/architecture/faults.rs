//! The tables in `docs/faults.md` and `docs/security.md`: each row names tests that exist.

use std::collections::BTreeSet;

use crate::rules::File;
use crate::source::{Source, is_word};

/// The first lines of the tables.
const HEADERS: [&str; 2] = ["| fault | reaction | tests |", "| promise | tests |"];

/// The names of the tests in a Rust file; what a macro is given in a list, a name a line, it
/// makes tests of.
pub(crate) fn tests(text: &str) -> Vec<String> {
    let code = Source::read(text).code;
    let mut found = Vec::new();
    let (mut marked, mut listed) = (false, false);
    for line in code.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.contains("test]") || line.contains("test(");
        } else if let Some((_, rest)) = line.split_once("fn ") {
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            found.extend(std::mem::take(&mut marked).then_some(name));
        } else if line.ends_with("! {") || line == "}" {
            listed = line != "}";
        } else if let Some(name) = line.strip_suffix(',').filter(|_| listed) {
            found.push(name.to_owned());
        }
    }
    found
}

/// The rows without a test, and the rows whose test is not among `tests`.
pub(crate) fn faults(document: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let rows = document.lines().filter(|line| line.starts_with("| ") && !HEADERS.contains(line));
    let mut count = 0;
    for row in rows {
        count += 1;
        let cell = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap_or_default();
        let marked = cell.split('`').skip(1).step_by(2);
        let mut named = marked.filter(|word| word.chars().all(is_word)).peekable();
        if named.peek().is_none() {
            wrong.push(format!("no test is named: {row}"));
        }
        let missing = named.filter(|name| !tests.contains(*name));
        wrong.extend(missing.map(|name| format!("there is no test `{name}`: {row}")));
    }
    if count == 0 {
        wrong.push("the document lists no fault".to_owned());
    }
    wrong
}

/// The rows that name a test of another file or folder than the one after it in brackets. `files`
/// has every source by its path.
pub(crate) fn misplaced(document: &str, files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        let cell = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap_or_default();
        let mut named: Vec<&str> = Vec::new();
        for word in cell.split('`').skip(1).step_by(2) {
            if word.chars().all(is_word) {
                named.push(word);
            } else if word.contains('/') {
                let inside = files.iter().filter(|file| file.path.starts_with(word));
                let there: BTreeSet<String> = inside.flat_map(|file| tests(&file.text)).collect();
                let missing = named.drain(..).filter(|name| !there.contains(*name));
                wrong.extend(missing.map(|name| format!("`{name}` is not in `{word}`: {row}")));
            }
        }
        wrong.extend(named.iter().map(|name| format!("`{name}` has no path: {row}")));
    }
    wrong
}

#[test]
fn test_of_another_file_is_refused() {
    let test = |name: &str| format!("#[test]\nfn {name}() {{}}\n");
    let file = |path: &str, name| File { path: path.to_owned(), text: test(name) };
    let files = [file("a/b.rs", "one"), file("a/c.rs", "two")];
    let found = |cell: &str| misplaced(&format!("| promise | tests |\n| p | {cell} |"), &files);
    assert!(found("`one` (`a/b.rs`), `two` (`a/c.rs`)").is_empty());
    assert!(found("`one`, `two` (`a/`, case `bad-name`)").is_empty());
    assert_eq!(found("`one`, `two` (`a/b.rs`)").len(), 1);
    assert_eq!(found("`one`").len(), 1);
}
