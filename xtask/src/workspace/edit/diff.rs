//! A unified diff of two texts that differ in a few lines.

/// Unchanged lines that are shown before and after the changes.
const CONTEXT: usize = 3;

pub(super) fn unified(file: &str, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let ends = old[first..].iter().rev().zip(new[first..].iter().rev());
    let same_end = ends.take_while(|(old, new)| old == new).count();
    let (start, behind) = (first.saturating_sub(CONTEXT), same_end.saturating_sub(CONTEXT));
    let (old, new) = (&old[start..old.len() - behind], &new[start..new.len() - behind]);
    let range = |lines: &[&str]| format!("{},{}", start + 1, lines.len());
    let mut out = format!("--- {file}\n+++ {file}\n@@ -{} +{} @@\n", range(old), range(new));
    let mut add = |sign: char, line: &str| out.extend([&*sign.to_string(), line, "\n"]);
    let mut rest = new.iter();
    for line in old {
        if !rest.as_slice().contains(line) {
            add('-', line);
            continue;
        }
        rest.by_ref().take_while(|other| *other != line).for_each(|line| add('+', line));
        add(' ', line);
    }
    rest.for_each(|line| add('+', line));
    out
}
