//! Names in an array: removed, and appended in the layout of their neighbours.
//!
//! `toml_edit` keeps the comment behind `"a",` in front of the next name. Here it stays on
//! its line as long as `a` stays. Comments of a removed name are lost.

use toml_edit::{Array, Value};

use super::text;

pub(super) fn position(names: &Array, name: &str) -> Option<usize> {
    names.iter().position(|value| value.as_str() == Some(name))
}

pub(super) fn remove_all(names: &mut Array, name: &str) {
    while let Some(place) = position(names, name) {
        let closing = space_before_bracket(names);
        let removed = names.remove(place);
        let before = text(removed.decor().prefix());
        let Some(next) = names.get_mut(place) else {
            let space = joined(before, &closing).unwrap_or(closing);
            set_space_before_bracket(names, &space);
            continue;
        };
        let own = text(next.decor().prefix());
        let space = if own.contains('\n') { own } else { before };
        let space = joined(before, own).unwrap_or_else(|| space.to_owned());
        next.decor_mut().set_prefix(space);
    }
}

/// Appends a name, unless the array contains it.
pub(super) fn push(names: &mut Array, name: &str) {
    if position(names, name).is_some() {
        return;
    }
    let closing = space_before_bracket(names);
    let last = names.iter().last().map(|last| text(last.decor().prefix()));
    let (before, closing) =
        match (last.map(|last| last.rsplit_once('\n')), closing.split_once('\n')) {
            (Some(Some((_, indent))), Some((behind, rest))) => {
                (format!("{behind}\n{indent}"), format!("\n{rest}"))
            }
            (Some(Some((_, indent))), None) => (format!("\n{indent}"), closing),
            (Some(None), _) => (" ".to_owned(), closing),
            (None, _) => (String::new(), closing),
        };
    set_space_before_bracket(names, "");
    names.push_formatted(Value::from(name).decorated(before, ""));
    set_space_before_bracket(names, &closing);
}

/// The end of the line before a removed name, with the lines before the next one; none
/// unless both begin a line.
fn joined(removed: &str, next: &str) -> Option<String> {
    Some(format!("{}\n{}", removed.split_once('\n')?.0, next.split_once('\n')?.1))
}

fn space_before_bracket(names: &Array) -> String {
    let space = match names.iter().last() {
        Some(last) if !names.trailing_comma() => text(last.decor().suffix()),
        _ => text(Some(names.trailing())),
    };
    space.to_owned()
}

fn set_space_before_bracket(names: &mut Array, space: &str) {
    let comma = names.trailing_comma();
    match names.iter_mut().last() {
        Some(last) if !comma => last.decor_mut().set_suffix(space),
        _ => names.set_trailing(space),
    }
}
