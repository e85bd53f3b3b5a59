//! "Did you mean": the known word nearest to a mistaken one.
//!
//! It compares spelling only.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The candidate that `word` was most likely meant to be, if one is near enough: a
/// third of its letters wrong, at most three.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = |text: &str| text.chars().count();
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (length(word).max(length(candidate)) / 3).min(3)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// A list for messages: `` `a`, `b` and `c` ``.
#[must_use]
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The number of letters to insert, remove, replace or swap with a neighbour. Case, and `_`
/// for `-`, count nothing: they are the commonest mistakes.
fn distance(left: &str, right: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    let (left, right) = (fold(left), fold(right));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = alloc::vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut best = (above[j] + usize::from(l != r)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = core::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_word_suggests_the_nearest_one() {
        let keys = ["depends-on", "uses", "port", "ports"];
        assert_eq!(nearest("depend-on", keys), Some("depends-on"));
        assert_eq!(nearest("depends_on", keys), Some("depends-on"));
        assert_eq!(nearest("prot", keys), Some("port"));
        assert_eq!(nearest("use", keys), Some("uses"));
    }

    #[test]
    fn unrelated_word_suggests_nothing() {
        assert_eq!(nearest("colour", ["port", "uses"]), None);
        assert_eq!(nearest("", ["port"]), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}
