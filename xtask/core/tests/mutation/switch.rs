//! Compiles many mutants at once: each gets a copy of the function that it changes, and the
//! function calls the copy of the mutant that runs.
//!
//! It reads functions by the layout that rustfmt gives them. A mutant that it cannot place is
//! compiled alone.

use std::ops::Range;

/// What the copy of the crate gets beside the functions: the number of the mutant that runs.
pub(crate) const SWITCH: &str = "
/// The number of the mutant that runs; 0 is none.
pub static MUTANT: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

fn mutant() -> usize {
    MUTANT.load(core::sync::atomic::Ordering::Relaxed)
}
";

/// A change of a source text: the only place that reads `find` reads `replace` instead.
pub(crate) struct Change<'a> {
    /// The number of the mutant, from 1.
    pub(crate) number: usize,
    pub(crate) find: &'a str,
    pub(crate) replace: &'a str,
}

/// A function of a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// How another function of the same block calls it, without its name: `self.`, `Self::`, or
    /// nothing.
    path: &'static str,
    parameters: Vec<String>,
    /// From the start of its first line to the end of its last.
    whole: Range<usize>,
    /// The start of its body, after the brace.
    body: usize,
}

/// Whether the mutant can share a build with others.
pub(crate) fn has_place(source: &str, change: &Change<'_>) -> bool {
    source.find(change.find).is_some_and(|at| around(source, at, change.find.len()).is_some())
}

/// The source with every change, each behind its number. All changes have a place.
pub(crate) fn apply(source: &str, changes: &[Change<'_>]) -> String {
    let mut edits: Vec<(usize, String)> = Vec::new();
    for change in changes {
        let at = source.find(change.find).unwrap();
        let function = around(source, at, change.find.len()).unwrap();
        let Function { name, path, parameters, whole, body } = function;
        let (number, mutant) = (change.number, format!("{name}__{}", change.number));
        let arguments = parameters.join(", ");
        let call =
            format!("if crate::mutant() == {number} {{ return {path}{mutant}({arguments}); }}");
        edits.push((body, call));
        let copy =
            source[whole.clone()].replacen(&format!("fn {name}"), &format!("fn {mutant}"), 1);
        edits.push((whole.end, format!("\n\n{}", copy.replacen(change.find, change.replace, 1))));
    }
    edits.sort_by_key(|(at, _)| *at);
    let mut text = source.to_owned();
    for (at, edit) in edits.iter().rev() {
        text.insert_str(*at, edit);
    }
    text
}

/// The innermost function around a part of the source, if another function can call it.
fn around(source: &str, at: usize, length: usize) -> Option<Function> {
    let starts = source[..at].match_indices("fn ").map(|(found, _)| found);
    let found = starts.filter(|found| begins_function(source, *found)).last()?;
    let start = source[..found].rfind('\n').map_or(0, |line| line + 1);
    let indent = source[start..].len() - source[start..].trim_start_matches(' ').len();
    let close = format!("\n{}}}\n", " ".repeat(indent));
    let end = start + source[start..].find(&close)? + close.len() - 1;
    let name: String =
        source[found + 3..].chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
    let open = found + 3 + name.len();
    let open = open + source[open..].find('(')?;
    let inner = open + 1..open + closing(&source[open..])?;
    let body = inner.end + source[inner.end..].find(" {\n")? + 2;
    let is_callable = at >= body
        && at + length <= end
        && !source[inner.end..body].contains("-> impl")
        && !source[start..found].contains("const")
        && !is_of_trait(&source[..start]);
    let mut names = parts(&source[inner]).into_iter();
    let mut parameters: Vec<String> = Vec::new();
    let mut path = if indent == 0 { "" } else { "Self::" };
    if let Some(first) = names.next() {
        match first.ends_with("self") {
            true => path = "self.",
            false => parameters.push(variable(first)?),
        }
    }
    for part in names {
        parameters.push(variable(part)?);
    }
    is_callable.then_some(Function { name, path, parameters, whole: start..end, body })
}

/// Whether `fn ` at this place begins a function item: only its visibility precedes it.
fn begins_function(source: &str, at: usize) -> bool {
    let line = source[..at].rfind('\n').map_or(0, |line| line + 1);
    let before = source[line..at].trim_start();
    before.is_empty() || (before.starts_with("pub") && !before.contains('"'))
}

/// Whether the block that is open at the end of this text implements a trait, which allows no
/// further functions.
fn is_of_trait(before: &str) -> bool {
    let starts = before.match_indices("impl").map(|(at, _)| at);
    let start = starts.filter(|at| before[..*at].ends_with('\n') || *at == 0).last();
    let block = start.map(|at| &before[at..]);
    let head = block.and_then(|block| block.split_once('{')).map(|(head, _)| head);
    head.is_some_and(|head| head.contains(" for "))
}

/// The place of the bracket that closes the first one.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, it) in text.char_indices() {
        depth += match it {
            '(' | '[' | '{' => 1,
            ')' | ']' | '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The parts between the outer commas.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    let mut before = ' ';
    for (at, it) in text.char_indices() {
        match it {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '>' if before != '-' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        before = it;
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The name of a parameter, unless it is a pattern.
fn variable(parameter: &str) -> Option<String> {
    let (name, _) = parameter.split_once(':')?;
    let name = name.trim().trim_start_matches("mut ");
    name.chars().all(|it| it.is_alphanumeric() || it == '_').then(|| name.to_owned())
}

#[test]
fn mutants_of_one_function_get_copies() {
    let source = "\
impl Stack {
    pub(super) fn take(
        &mut self,
        id: Id,
        handle: impl FnOnce(&mut Self, Id) -> bool,
    ) -> bool {
        self.a && self.b
    }
}
";
    let change = |number, find, replace| Change { number, find, replace };
    let changes = [change(1, "self.a &&", "self.a ||"), change(7, "&& self.b", "")];
    assert!(changes.iter().all(|change| has_place(source, change)));
    let applied = apply(source, &changes);
    let calls = "{if crate::mutant() == 1 { return self.take__1(id, handle); }\
                 if crate::mutant() == 7 { return self.take__7(id, handle); }\n";
    assert!(applied.contains(calls), "{applied}");
    for part in ["fn take__1(", "self.a || self.b", "fn take__7(", "        self.a \n"] {
        assert!(applied.contains(part), "no `{part}` in {applied}");
    }
    assert_eq!(applied.matches("self.a && self.b").count(), 1, "{applied}");
}

#[test]
fn mutants_without_a_function_are_compiled_alone() {
    let sources = [
        "const LIMIT: u32 = 5;\n",
        "impl Display for Phase {\n    fn fmt(&self) -> u32 {\n        5\n    }\n}\n",
        "fn pair((a, b): (u32, u32)) -> u32 {\n    5\n}\n",
        "const fn five() -> u32 {\n    5\n}\n",
    ];
    for source in sources {
        assert!(!has_place(source, &Change { number: 1, find: "5", replace: "6" }), "{source}");
    }
}
