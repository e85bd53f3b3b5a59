//! The forms in which edges are written, before and after an edit, to the byte.

mod cycles;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use xtask_core::manifest::at::At;
use xtask_core::plan::Repair;
use xtask_core::problem::Span;

use super::{Applied, Error, apply, moved};

const SERVICE: &str = "package.metadata.service";

fn repair(table: &str, dependency: &str) -> Repair {
    Repair {
        from: "shop".into(),
        to: At {
            value: dependency.to_owned(),
            span: Span { file: "Cargo.toml".to_owned(), bytes: 0..0 },
            line: 1,
        },
        table: table.split('.').map(str::to_owned).collect(),
    }
}

#[track_caller]
fn check_in(table: &str, dependency: &str, before: &str, after: &str) {
    let edited = moved(before, &repair(table, dependency)).unwrap();
    assert_eq!(edited, after, "\n--- edited\n{edited}--- expected\n{after}");
    assert_eq!(edited.matches('#').count(), before.matches('#').count(), "comments");
}

/// As [`check_in`], for lines of the usual table.
#[track_caller]
fn check(dependency: &str, before: &str, after: &str) {
    let file = |lines: &str| format!("[{SERVICE}]\n{lines}\nport = 1\n\n[dependencies]\n");
    check_in(SERVICE, dependency, &file(before), &file(after));
}

#[test]
fn only_name_turns_the_list_into_uses() {
    for (before, after) in [
        ("# Prices.\n  depends-on = ['b'] # always", "# Prices.\n  uses = ['b'] # always"),
        ("depends-on = [ # 1\n  'b', # 2\n  # 3\n]", "uses = [ # 1\n  'b', # 2\n  # 3\n]"),
        ("# 1\ndepends-on = { b = 'ready' } # 2", "# 1\nuses = [\"b\"] # 2"),
    ] {
        check("b", before, after);
    }
}

#[test]
fn one_of_several_names_moves_to_a_new_list() {
    for (name, list, rest) in [
        ("a", "['a', 'b', 'c']", "['b', 'c']"),
        ("b", "['a', 'b', 'c']", "['a', 'c']"),
        ("c", "['a', 'b', 'c']", "['a', 'b']"),
        ("b", "[ 'a', 'b' ]", "[ 'a' ]"),
        ("a", "[ 'a', 'b' ]", "[ 'b' ]"),
        ("b", "['a','b',]", "['a',]"),
        ("a", "[\n    'a',\n    'b',\n]", "[\n    'b',\n]"),
        ("b", "[ # 0\n 'a', # 1\n 'b',\n 'c' # 2\n]", "[ # 0\n 'a', # 1\n 'c' # 2\n]"),
        ("b", "[\n 'a', # 1\n # 2\n 'c',\n 'b'\n]", "[\n 'a', # 1\n # 2\n 'c'\n]"),
        ("a", "{ a = 'started', b = 'succeeded' }", "{ b = 'succeeded' }"),
        ("b", "{ a = 'started', b = { restart = true } }", "{ a = 'started' }"),
    ] {
        check(
            name,
            &format!("# Both.\n  depends-on = {list} # why"),
            &format!("# Both.\n  depends-on = {rest} # why\n  uses = [\"{name}\"]"),
        );
    }
}

#[test]
fn name_joins_the_existing_uses() {
    for (uses, after) in [
        ("['x'] # seldom", "['x', \"b\"] # seldom"),
        ("[ 'x' ]", "[ 'x', \"b\" ]"),
        ("[]", "[\"b\"]"),
        ("['b']", "['b']"),
        ("[\n\t'x'\n]", "[\n\t'x',\n\t\"b\"\n]"),
        ("[\n # 1\n 'x', # 2\n # 3\n]", "[\n # 1\n 'x', # 2\n \"b\",\n # 3\n]"),
    ] {
        let rest = "# Both.\ndepends-on = ['a'";
        check("b", &format!("uses = {uses}\n{rest}, 'b']"), &format!("uses = {after}\n{rest}]"));
    }
    check("b", "depends-on = ['b']\n# 1\nuses = ['x']", "# 1\nuses = ['x', \"b\"]");
}

#[test]
fn table_of_conditions_loses_the_name() {
    let table = "[package.metadata.service.depends-on]\n";
    for (before, after) in [
        (
            format!("args = []\n\n{table}a = 'started'\n# Last.\nb = 'ready'"),
            format!("args = []\nuses = [\"a\"]\n\n{table}# Last.\nb = 'ready'"),
        ),
        (
            format!("args = []\n\n{table}a = 'started'\n\n[x]"),
            "args = []\nuses = [\"a\"]\n\n[x]".to_owned(),
        ),
        (
            "depends-on.a = 'started'\ndepends-on.b = 'ready'".to_owned(),
            "depends-on.b = 'ready'\nuses = [\"a\"]".to_owned(),
        ),
    ] {
        check("a", &before, &after);
    }
}

#[test]
fn edit_changes_only_the_named_table() {
    for table in ["package.metadata.services.one", "package.metadata.service.with.postgres"] {
        let other = format!("[{SERVICE}]\ndepends-on = ['a']\n\n[{table}]\n");
        check_in(
            table,
            "a",
            &(other.clone() + "depends-on = ['a']\n"),
            &(other + "uses = ['a']\n"),
        );
    }
    for (before, after) in [
        ("depends-on = ['a']", "uses = ['a']"),
        ("depends-on = ['a', 'b']", "depends-on = ['b'], uses = [\"a\"]"),
        ("uses = ['b'], depends-on = ['a']", "uses = ['b', \"a\"]"),
    ] {
        let root = |keys: &str| {
            format!("[workspace.metadata.services]\ndb = {{ command = ['x'], {keys} }} # db\n")
        };
        check_in("workspace.metadata.services.db", "a", &root(before), &root(after));
    }
}

/// Writes a manifest with these lines, moves the names, and returns the text after it.
fn applied(lines: &str, names: &[&str]) -> (String, Result<Applied, Error>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Cargo.toml");
    fs::write(&file, format!("[{SERVICE}]\n{lines}")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let repairs: Vec<_> = names.iter().map(|name| repair(SERVICE, name)).collect();
    let applied = apply(folder.path(), &repairs);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    let text = fs::read_to_string(&file).unwrap();
    (text.strip_prefix(&format!("[{SERVICE}]\n")).unwrap().to_owned(), applied)
}

#[test]
fn edit_that_loses_a_comment_is_not_written() {
    for (lines, diff) in [
        (
            "depends-on = [\n 'a',\n 'b', # 2\n]\n",
            " depends-on = [\n  'a',\n- 'b', # 2\n ]\n+uses = [\"b\"]\n",
        ),
        (
            "depends-on = [\n # 2\n 'b',\n 'a',\n]\n",
            " depends-on = [\n- # 2\n- 'b',\n  'a',\n ]\n+uses = [\"b\"]\n",
        ),
        (
            "# 2\ndepends-on = ['b']\nuses = ['a']\n",
            "-# 2\n-depends-on = ['b']\n-uses = ['a']\n+uses = ['a', \"b\"]\n",
        ),
        ("depends-on.b = 'ready' # 2\n", "-depends-on.b = 'ready' # 2\n+uses = [\"b\"]\n"),
    ] {
        let (text, applied) = applied(lines, &["b"]);
        assert_eq!(text, lines);
        let Applied { moved, unwritten } = applied.unwrap();
        assert!(moved.is_empty());
        let shown = unwritten[0].diff();
        assert!(shown.starts_with("--- Cargo.toml\n+++ Cargo.toml\n@@ -1,"), "{shown}");
        assert!(shown.ends_with(&format!("@@\n [{SERVICE}]\n{diff}")), "{shown}");
    }
}

#[test]
fn line_ends_of_the_file_stay() {
    let file = |lines: &str| format!("[{SERVICE}]\r\n{lines}\r\nport = 1\r\n");
    let after = file("depends-on = ['b']\r\nuses = [\"a\"]");
    check_in(SERVICE, "a", &file("depends-on = ['a', 'b']"), &after);
}

#[test]
fn several_moves_are_one_write() {
    let (text, applied) = applied("depends-on = [\"a\", \"b\"]\n", &["a", "b"]);
    assert_eq!(text, "uses = [\"a\", \"b\"]\n");
    let line = format!("moved `a` from `depends-on` to `uses` in `[{SERVICE}]` of `Cargo.toml`");
    assert_eq!(applied.unwrap().moved[0], line);
}

#[test]
fn nothing_is_written_without_every_edge() {
    let lines = "depends-on = [\"a\"]\n";
    let (text, applied) = applied(lines, &["a", "z"]);
    assert!(matches!(applied, Err(Error::NoSuchName { dependency, .. }) if dependency == "z"));
    assert_eq!(text, lines);
    assert!(matches!(
        apply(Path::new("/no/such"), &[repair(SERVICE, "a")]),
        Err(Error::Io { operation: "read", .. })
    ));
}

#[test]
fn invalid_uses_and_invalid_toml_are_refused() {
    let text = "[package.metadata.service]\ndepends-on = [\"a\"]\nuses = \"b\"\n";
    assert!(matches!(moved(text, &repair(SERVICE, "a")), Err(Error::NotAList { .. })));
    assert!(matches!(moved("[", &repair(SERVICE, "a")), Err(Error::Syntax { .. })));
    assert!(matches!(moved("", &repair(SERVICE, "a")), Err(Error::NoSuchName { .. })));
}
