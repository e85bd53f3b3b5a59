//! Problems as text in the manner of rustc, or as JSON.
//!
//! This module finds no problems and changes no wording.

use std::borrow::Cow;
use std::ops::Range;
use xtask_core::sorted::SortedMap;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;
use xtask_core::problem::{Code, Label, Problem, Severity};

use crate::view::style::{BAD, BOLD, GOOD, RESET};

/// Returns the text of a file, by the file's name in a problem.
pub type Texts<'a> = &'a dyn Fn(&str) -> Option<String>;

/// All problems with an empty line between them, always with colours: the stream that prints
/// them removes colours where needed.
pub fn render(problems: &[Problem], texts: Texts<'_>) -> String {
    let files = Files::read(problems, texts);
    let renderer = Renderer::styled().term_width(160);
    let mut out = String::new();
    for problem in problems {
        out.push_str(&renderer.render(&[group(problem, &files)]));
        out.push_str("\n\n");
    }
    out
}

/// Counts problems by severity: `2 errors, 1 warning`.
pub fn count(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    let part = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    let parts: Vec<String> =
        [part(errors, "error"), part(warnings, "warning")].into_iter().flatten().collect();
    if parts.is_empty() { "no problems".to_string() } else { parts.join(", ") }
}

/// What a code means, with its examples as indented TOML.
pub(crate) fn meaning(code: Code) -> String {
    let mut out = format!("{BOLD}{code}{RESET}\n\n");
    let mut in_example = false;
    for line in code.section().lines() {
        match line.strip_prefix("```") {
            Some("toml wrong") => out += &format!("{BAD}wrong{RESET}\n"),
            Some("toml right") => out += &format!("{GOOD}right{RESET}\n"),
            Some(_) => {}
            None if in_example => out += &format!("    {line}\n"),
            None => out += &format!("{line}\n"),
        }
        in_example ^= line.starts_with("```");
    }
    out
}

/// A problem as `--json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemJson {
    /// Stable code such as `unknown-key`; null if cargo itself refuses the workspace.
    code: Option<Code>,
    severity: Severity,
    message: String,
    /// Places in files; the first is the mistake's. Empty for command line values.
    places: Vec<PlaceJson>,
    notes: Vec<String>,
    /// One command or edit that solves it.
    hint: Option<String>,
}

impl ProblemJson {
    /// Creates a problem from cargo's error about an unreadable workspace.
    pub fn of_cargo(message: &str) -> Self {
        Self {
            code: None,
            severity: Severity::Error,
            message: message.to_owned(),
            places: Vec::new(),
            notes: Vec::new(),
            hint: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PlaceJson {
    /// Relative to the workspace root.
    file: String,
    /// Counted from 1.
    line: usize,
    /// Column in characters, counted from 1.
    column: usize,
    bytes: Range<usize>,
    /// Text of the label; may be empty.
    text: String,
    /// Whether this is the place of the mistake; else it explains the mistake.
    primary: bool,
}
pub fn json(problems: &[Problem], texts: Texts<'_>) -> Vec<ProblemJson> {
    let files = Files::read(problems, texts);
    let place = |label: &Label| {
        let (line, column) = files.position(&label.span.file, label.span.bytes.start);
        PlaceJson {
            file: label.span.file.clone(),
            line,
            column,
            bytes: label.span.bytes.clone(),
            text: label.text.clone(),
            primary: label.primary,
        }
    };
    problems
        .iter()
        .map(|problem| ProblemJson {
            code: Some(problem.code),
            severity: problem.severity,
            message: problem.message.clone(),
            places: problem.labels.iter().map(place).collect(),
            notes: problem.notes.clone(),
            hint: problem.hint.clone(),
        })
        .collect()
}

/// The texts of the files in problems, each read once.
struct Files(SortedMap<String, String>);

impl Files {
    fn read(problems: &[Problem], texts: Texts<'_>) -> Self {
        let mut files = SortedMap::new();
        for label in problems.iter().flat_map(|problem| &problem.labels) {
            let file = &label.span.file;
            if !files.contains_key(file) {
                files.insert(file.clone(), texts(file).unwrap_or_default());
            }
        }
        Self(files)
    }

    fn text(&self, file: &str) -> &str {
        self.0.get(file).map_or("", String::as_str)
    }

    /// Line and column of a byte, both counted from 1.
    fn position(&self, file: &str, byte: usize) -> (usize, usize) {
        let text = self.text(file);
        let before = text.get(..byte).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        (line, column)
    }
}

/// Converts a problem for `annotate-snippets`.
fn group<'a>(problem: &'a Problem, files: &'a Files) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(&problem.message)
        .id(problem.code.as_str())
        .elements(snippets(&problem.labels, files));
    for note in &problem.notes {
        group = group.element(Level::NOTE.message(note));
    }
    let hint = match &problem.hint {
        Some(hint) => Cow::Borrowed(hint.as_str()),
        None => {
            format!("`%xtask% explain {}` has a wrong and a right example", problem.code).into()
        }
    };
    group.element(Level::HELP.with_name("hint").message(hint))
}

/// One snippet for each file, in order of the labels.
fn snippets<'a>(
    labels: &'a [Label],
    files: &'a Files,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut order: Vec<&str> = Vec::new();
    for label in labels {
        if !order.contains(&label.span.file.as_str()) {
            order.push(&label.span.file);
        }
    }
    order
        .into_iter()
        .map(|file| {
            let text = files.text(file);
            let here = labels.iter().filter(|label| label.span.file == file);
            Snippet::source(text).path(file).annotations(here.map(|label| {
                let kind =
                    if label.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
                let label_text = (!label.text.is_empty()).then_some(label.text.as_str());
                kind.span(one_line(text, &label.span.bytes)).label(label_text)
            }))
        })
        .collect()
}

/// Cuts the range to its first line, to the text and to whole characters. A caret below one line
/// is clearer than a frame around a table.
fn one_line(text: &str, bytes: &Range<usize>) -> Range<usize> {
    let mut start = bytes.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let mut end = bytes.end.clamp(start, line_end.max(start));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask_core::problem::Span;

    fn at(bytes: Range<usize>) -> Problem {
        let span = Span { file: "Cargo.toml".to_string(), bytes };
        Problem::error(Code::BadValue, "`x` is wrong").at(span, "")
    }

    fn plain(problems: &[Problem], text: &str) -> String {
        anstream::adapter::strip_str(&render(problems, &|_| Some(text.to_string()))).to_string()
    }

    #[test]
    fn problem_is_drawn_with_place_and_caret() {
        let text = plain(&[at(6..7).hint("write `y`")], "a = 1\nx = 2\n");
        assert!(text.starts_with("error[bad-value]: `x` is wrong\n"), "{text}");
        assert!(text.contains("--> Cargo.toml:2:1") && text.contains("^"), "{text}");
        assert!(text.contains("= hint: write `y`"), "{text}");
    }

    #[test]
    fn problem_without_a_hint_names_explain() {
        let text = plain(&[at(6..7)], "a = 1\nx = 2\n");
        assert!(text.contains("= hint: `%xtask% explain bad-value` has"), "{text}");
        let text = plain(&[at(6..7).hint("write `y`")], "a = 1\nx = 2\n");
        assert!(!text.contains("explain"), "{text}");
    }

    #[test]
    fn multi_line_place_is_drawn_on_its_first_line() {
        let text = plain(&[at(4..20)], "x = [\n  1,\n  2,\n]\n");
        assert!(text.contains("1 | x = [") && !text.contains("2 |"), "{text}");
    }

    #[test]
    fn invalid_ranges_are_still_drawn() {
        for bytes in [5..6, 90..99, 0..99, 6..6] {
            let text = plain(&[at(bytes)], "x = \"é\"\n");
            assert!(text.contains("error[bad-value]"), "{text}");
        }
        assert!(plain(&[at(3..4)], "").contains("error[bad-value]"));
    }

    #[test]
    fn problems_are_counted_by_severity() {
        let warning = Problem::warning(Code::Cycle, "a cycle");
        assert_eq!(count(&[]), "no problems");
        assert_eq!(count(&[at(0..1), at(1..2), warning]), "2 errors, 1 warning");
    }
}
