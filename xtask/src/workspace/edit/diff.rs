//! A unified diff of two texts that differ in a few lines.

use std::fmt::Write as _;

/// Unchanged lines that are shown before and after the changes.
const CONTEXT: usize = 3;

/// The diff, in one hunk.
pub(super) fn unified(file: &str, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let ends = old[first..].iter().rev().zip(new[first..].iter().rev());
    let same_end = ends.take_while(|(old, new)| old == new).count();
    let (start, behind) = (first.saturating_sub(CONTEXT), same_end.saturating_sub(CONTEXT));
    let (old, new) = (&old[start..old.len() - behind], &new[start..new.len() - behind]);
    let range = |lines: &[&str]| format!("{},{}", start + 1, lines.len());
    let mut out = format!("--- {file}\n+++ {file}\n@@ -{} +{} @@\n", range(old), range(new));
    let mut rest = new;
    for line in old {
        let Some(added) = rest.iter().position(|other| other == line) else {
            let _ = writeln!(out, "-{line}");
            continue;
        };
        for line in &rest[..added] {
            let _ = writeln!(out, "+{line}");
        }
        let _ = writeln!(out, " {line}");
        rest = &rest[added + 1..];
    }
    for line in rest {
        let _ = writeln!(out, "+{line}");
    }
    out
}
