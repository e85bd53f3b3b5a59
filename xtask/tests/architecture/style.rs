//! The rules of `docs/style.md` that a test can hold: banned words, empty doc comments, and long
//! names of tests.
//!
//! The list of banned words is read from that page. A phrase is found in prose, in names and in
//! file names alike: words are compared without case, and what joins them may be a space, `_`,
//! `-`, the change of case in `CamelCase`, or the end of a line with the marks that begin the next.

use crate::faults::tests;
use crate::rules::File;

/// The page with the list, which quotes what it bans.
pub(crate) const PAGE: &str = "docs/style.md";

const HEADING: &str = "## Banned words\n";

/// As many words as a test's name may have.
const LONGEST_NAME: usize = 9;

/// A word of a text, in lower case.
#[derive(Clone, Debug)]
struct Word {
    line: usize,
    text: String,
    /// Whether only a space, `_`, `-` or the end of a line joins it to the word before.
    joined: bool,
    /// Whether it is all that stands between two quotes or backticks.
    quoted: bool,
}

/// The entries of the list, each as its words.
pub(crate) fn banned(page: &str) -> Vec<Vec<String>> {
    let (_, section) = page.split_once(HEADING).unwrap_or_default();
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let entries = section.lines().filter_map(|line| line.strip_prefix("- "));
    entries.map(|entry| words(entry).into_iter().map(|word| word.text).collect()).collect()
}

/// Banned words in the path and in the text, each with its place.
pub(crate) fn banned_words(file: &File, banned: &[Vec<String>]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut search = |words: &[Word], place: &dyn Fn(usize) -> String| {
        for at in 0..words.len() {
            for phrase in banned.iter().filter(|phrase| phrase.first() == Some(&words[at].text)) {
                let Some(found) = words.get(at..at + phrase.len()) else { continue };
                let joined = found.iter().skip(1).all(|word| word.joined);
                let account = found.len() == 1 && found[0].quoted && found[0].text == ACCOUNT;
                let same = found.iter().map(|word| &word.text).eq(phrase);
                if same && joined && !account {
                    let phrase = phrase.join(" ");
                    wrong.push(format!("{}: `{phrase}` is banned", place(found[0].line)));
                }
            }
        }
    };
    search(&words(&file.path), &|_| format!("{} (the name of the file)", file.path));
    if file.path.ends_with(".rs") || file.path.ends_with(".md") {
        search(&words(&file.text), &|line| format!("{}:{line}", file.path));
    }
    wrong
}

/// An account of the operating system, which may be quoted by its name.
const ACCOUNT: &str = concat!("no", "body");

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut rest, mut line, mut between) = (text, 1, String::new());
    let mut before = None;
    while let Some(first) = rest.chars().next() {
        if !first.is_alphanumeric() {
            between.push(first);
            before = Some(first);
            line += usize::from(first == '\n');
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let length = word_length(rest);
        let (word, after) = rest.split_at(length);
        let quote = after.chars().next().filter(|next| "\"'`".contains(*next));
        words.push(Word {
            line,
            text: word.to_lowercase(),
            joined: joins(&between),
            quoted: quote.is_some() && quote == before,
        });
        between.clear();
        (rest, before) = (after, None);
    }
    words
}

/// Whether the signs between two words make them neighbours.
fn joins(between: &str) -> bool {
    let marks = if between.contains('\n') { " \t_-\n\r/!*>#\\" } else { " \t_-" };
    between.chars().all(|sign| marks.contains(sign))
}

/// The length of the word that the text begins with: it ends before a capital after a small
/// letter.
fn word_length(text: &str) -> usize {
    let mut small = false;
    for (at, c) in text.char_indices() {
        if !c.is_alphanumeric() || (small && c.is_uppercase()) {
            return at;
        }
        small = c.is_lowercase();
    }
    text.len()
}

/// Words that begin a doc comment of two words which only repeats a name: `The service.`
const ARTICLES: [&str; 7] = ["A", "An", "Its", "One", "That", "The", "Their"];

/// Doc comments of a Rust file that add nothing: one word, or an article and a word. A word in
/// backticks is a format or a literal, which adds something.
pub(crate) fn empty_docs(file: &File) -> Vec<String> {
    let mut blocks: Vec<(usize, &str, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(file.text.lines().map(str::trim_start)) {
        let mark = ["///", "//!"].into_iter().find(|mark| line.starts_with(mark));
        let Some(mark) = mark.filter(|_| !line.starts_with("////")) else {
            open = false;
            continue;
        };
        match blocks.last_mut().filter(|(_, before, _)| open && *before == mark) {
            Some((_, _, text)) => text.extend([" ", &line[3..]]),
            None => blocks.push((number, mark, line[3..].to_owned())),
        }
        open = true;
    }
    let empty = blocks.iter().filter(|(_, _, text)| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let short = words.len() < 2 || words.len() == 2 && ARTICLES.contains(&words[0]);
        short && !text.contains('`')
    });
    empty
        .map(|(line, mark, text)| {
            format!("{}:{line}: an empty doc comment: `{mark}{text}`", file.path)
        })
        .collect()
}

/// The names of the tests in a Rust file, with the number of words of each.
pub(crate) fn test_names(file: &File) -> Vec<(String, usize)> {
    let name = |name: String| {
        let words = name.split('_').filter(|word| !word.is_empty()).count();
        (name, words)
    };
    tests(&file.text).into_iter().map(name).collect()
}

/// Names of tests that are too long to be read as a line of a specification.
pub(crate) fn long_names(file: &File) -> Vec<String> {
    let long = test_names(file).into_iter().filter(|(_, words)| *words > LONGEST_NAME);
    let path = &file.path;
    long.map(|(name, words)| format!("{path}: `{name}` has {words} words, not {LONGEST_NAME}"))
        .collect()
}
