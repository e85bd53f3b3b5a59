//! The tables in `docs/faults.md`: each row names tests that exist.

use std::collections::BTreeSet;

use crate::source::{Source, is_word};

/// The first line of each table.
const HEADER: &str = "| fault | reaction | tests |";

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
    let rows = document.lines().filter(|line| line.starts_with("| ") && *line != HEADER);
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
