//! Every form in which edges are written, before and after, to the byte.

mod cycles;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::workspace::edit::{Error, Move, apply, moved};

const SERVICE: &str = "package.metadata.service";

fn step(table: &str, dependency: &str) -> Move {
    Move {
        file: PathBuf::from("Cargo.toml"),
        service_path: table.split('.').map(str::to_owned).collect(),
        dependency: dependency.to_owned(),
    }
}

#[track_caller]
fn check(table: &str, dependency: &str, before: &str, after: &str) {
    let edited = moved(before, &step(table, dependency)).unwrap();
    assert_eq!(edited, after, "\n--- edited\n{edited}--- expected\n{after}");
    assert_eq!(edited.matches('#').count(), before.matches('#').count(), "a comment is lost");
    edited.parse::<toml_edit::DocumentMut>().unwrap();
}

#[test]
fn the_only_name_of_a_list_turns_the_list_into_uses_where_it_stands() {
    check(
        SERVICE,
        "stock",
        "[package]\nname = 'shop' # the shop\n\n[package.metadata.service]\nport = 1\n\
         # Asks it for prices.\ndepends-on = [\"stock\"] # at every page\nargs = []\n\n\
         [dependencies]\nserde = \"1\"\n",
        "[package]\nname = 'shop' # the shop\n\n[package.metadata.service]\nport = 1\n\
         # Asks it for prices.\nuses = [\"stock\"] # at every page\nargs = []\n\n\
         [dependencies]\nserde = \"1\"\n",
    );
}

#[test]
fn one_name_of_several_moves_to_a_new_list_on_the_next_line() {
    let before = |list: &str, uses: &str| {
        format!("[package.metadata.service]\n  depends-on = {list}\n{uses}  port = 1\n")
    };
    for (list, name, rest) in [
        ("[\"a\", \"b\", \"c\"]", "a", "[\"b\", \"c\"]"),
        ("[\"a\", \"b\", \"c\"]", "b", "[\"a\", \"c\"]"),
        ("[\"a\", \"b\", \"c\"]", "c", "[\"a\", \"b\"]"),
        ("[ \"a\", \"b\" ]", "b", "[ \"a\" ]"),
        ("[ \"a\", \"b\" ]", "a", "[ \"b\" ]"),
        ("['a','b',]", "b", "['a',]"),
    ] {
        let uses = format!(
            "  uses = [{}]\n",
            if list.contains('"') { format!("\"{name}\"") } else { "'b'".into() }
        );
        check(SERVICE, name, &before(list, ""), &before(rest, &uses));
    }
}

#[test]
fn a_name_joins_the_list_that_is_there() {
    check(
        SERVICE,
        "b",
        "[package.metadata.service]\nuses = [\"x\"] # seldom\n# Both.\ndepends-on = [\"a\", \"b\"]\n",
        "[package.metadata.service]\nuses = [\"x\", \"b\"] # seldom\n# Both.\ndepends-on = [\"a\"]\n",
    );
    check(
        SERVICE,
        "b",
        "[package.metadata.service]\ndepends-on = [\"a\", \"b\"]\nuses = []\n",
        "[package.metadata.service]\ndepends-on = [\"a\"]\nuses = [\"b\"]\n",
    );
    check(
        SERVICE,
        "b",
        "[package.metadata.service]\ndepends-on = [\"a\", \"b\"]\nuses = [\"b\"]\n",
        "[package.metadata.service]\ndepends-on = [\"a\"]\nuses = [\"b\"]\n",
    );
}

#[test]
fn an_emptied_list_goes_and_its_comments_go_above_uses() {
    check(
        SERVICE,
        "b",
        "[package.metadata.service]\n# Prices.\ndepends-on = [\"b\"] # always\nport = 1\n\
         # Links.\nuses = [\"x\"]\n",
        "[package.metadata.service]\nport = 1\n# Links.\n# Prices.\n# always\nuses = [\"x\", \"b\"]\n",
    );
}

#[test]
fn comments_of_a_name_go_with_it_and_the_others_stay() {
    check(
        SERVICE,
        "b",
        "[package.metadata.service]\ndepends-on = [ # in order\n    \"a\", # one\n    # About b.\n    \
         \"b\", # two\n    # About c.\n    \"c\", # three\n]\n",
        "[package.metadata.service]\ndepends-on = [ # in order\n    \"a\", # one\n    \
         # About c.\n    \"c\", # three\n]\nuses = [\n    # About b.\n    \"b\", # two\n]\n",
    );
    check(
        SERVICE,
        "b",
        "[package.metadata.service]\ndepends-on = [\n    \"a\",\n    \"b\" # last\n]\nuses = [\n\t\"x\"\n]\n",
        "[package.metadata.service]\ndepends-on = [\n    \"a\"\n]\nuses = [\n\t\"x\",\n\t\"b\" # last\n]\n",
    );
    check(
        SERVICE,
        "a",
        "[package.metadata.service]\ndepends-on = [\n    \"a\", # first\n    \"b\",\n    # The end.\n]\nuses = [\"x\"]\n",
        "[package.metadata.service]\ndepends-on = [\n    \"b\",\n    # The end.\n]\n# first\nuses = [\"x\", \"a\"]\n",
    );
}

#[test]
fn lines_without_comments_become_a_short_list() {
    check(
        SERVICE,
        "a",
        "[package.metadata.service]\ndepends-on = [\n    \"a\",\n    \"b\",\n]\n",
        "[package.metadata.service]\ndepends-on = [\n    \"b\",\n]\nuses = [\"a\"]\n",
    );
    check(
        SERVICE,
        "a",
        "[package.metadata.service]\ndepends-on = [\n    \"a\", # why\n]\n",
        "[package.metadata.service]\nuses = [\n    \"a\", # why\n]\n",
    );
}

#[test]
fn a_table_in_braces_loses_the_name() {
    let file = |line: &str| format!("[package.metadata.service]\n{line}\nport = 1\n");
    check(
        SERVICE,
        "a",
        &file("depends-on = { a = \"started\", b = \"succeeded\" } # both"),
        &file("depends-on = { b = \"succeeded\" } # both\nuses = [\"a\"]"),
    );
    check(
        SERVICE,
        "b",
        &file("depends-on = { a = \"started\", b = { condition = \"ready\", restart = true } }"),
        &file("depends-on = { a = \"started\" }\nuses = [\"b\"]"),
    );
    check(
        SERVICE,
        "a",
        &file("# Needs it.\ndepends-on = { a = \"started\" } # early"),
        &file("# Needs it.\nuses = [\"a\"] # early"),
    );
}

#[test]
fn a_table_of_its_own_loses_the_name() {
    check(
        SERVICE,
        "a",
        "[package.metadata.service]\nport = 1\n\n[package.metadata.service.depends-on]\n# First.\n\
         a = \"started\" # early\nb = \"ready\"\n\n[dependencies]\n",
        "[package.metadata.service]\nport = 1\n# First.\n# early\nuses = [\"a\"]\n\n\
         [package.metadata.service.depends-on]\nb = \"ready\"\n\n[dependencies]\n",
    );
    check(
        SERVICE,
        "a",
        "[package.metadata.service]\nport = 1\n\n# Waits.\n[package.metadata.service.depends-on]\n\
         a = \"started\"\n\n[dependencies]\n",
        "[package.metadata.service]\nport = 1\n# Waits.\nuses = [\"a\"]\n\n[dependencies]\n",
    );
    check(
        SERVICE,
        "a",
        "[package.metadata.service]\ndepends-on.a = \"started\"\ndepends-on.b = \"ready\"\n",
        "[package.metadata.service]\ndepends-on.b = \"ready\"\nuses = [\"a\"]\n",
    );
}

#[test]
fn every_place_of_a_service_is_found() {
    check(
        "package.metadata.services.one",
        "a",
        "[package.metadata.services.one]\ndepends-on = [\"a\"]\n\n[package.metadata.services.two]\ndepends-on = [\"a\"]\n",
        "[package.metadata.services.one]\nuses = [\"a\"]\n\n[package.metadata.services.two]\ndepends-on = [\"a\"]\n",
    );
    check(
        "workspace.metadata.services.db",
        "a",
        "[workspace]\nmembers = []\n\n[workspace.metadata.services]\ndb = { command = [\"x\"], depends-on = [\"a\"] }\n",
        "[workspace]\nmembers = []\n\n[workspace.metadata.services]\ndb = { command = [\"x\"], uses = [\"a\"] }\n",
    );
    check(
        "workspace.metadata.services.db",
        "a",
        "[workspace.metadata.services]\ndb = { command = [\"x\"], depends-on = [\"a\", \"b\"] }\n",
        "[workspace.metadata.services]\ndb = { command = [\"x\"], depends-on = [\"b\"], uses = [\"a\"] }\n",
    );
    check(
        "workspace.metadata.services.db",
        "a",
        "[workspace.metadata.services]\ndb = { uses = [\"b\"], depends-on = [\"a\"] }\n",
        "[workspace.metadata.services]\ndb = { uses = [\"b\", \"a\"] }\n",
    );
    check(
        "package.metadata.service.with.postgres",
        "db",
        "[package.metadata.service]\ndepends-on = [\"db\"]\n\n[package.metadata.service.with.postgres]\ndepends-on = [\"db\"]\n",
        "[package.metadata.service]\ndepends-on = [\"db\"]\n\n[package.metadata.service.with.postgres]\nuses = [\"db\"]\n",
    );
}

#[test]
fn the_line_ends_of_the_file_are_kept() {
    check(
        SERVICE,
        "a",
        "[package.metadata.service]\r\ndepends-on = [\"a\", \"b\"]\r\nport = 1\r\n",
        "[package.metadata.service]\r\ndepends-on = [\"b\"]\r\nuses = [\"a\"]\r\nport = 1\r\n",
    );
}

#[test]
fn several_moves_are_one_write_that_keeps_the_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Cargo.toml");
    fs::write(&file, "[package.metadata.service]\ndepends-on = [\"a\", \"b\"]\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let moves = ["a", "b"].map(|name| Move { file: file.clone(), ..step(SERVICE, name) });

    let said = apply(folder.path(), &moves).unwrap();

    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "[package.metadata.service]\nuses = [\"a\", \"b\"]\n"
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    assert_eq!(
        said[0],
        format!(
            "moved `a` from `depends-on` to `uses` in `[package.metadata.service]` of `{}`",
            file.display()
        )
    );
}

#[test]
fn nothing_is_written_when_one_of_the_edges_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Cargo.toml");
    let text = "[package.metadata.service]\ndepends-on = [\"a\"]\n";
    fs::write(&file, text).unwrap();
    let moves = ["a", "z"].map(|name| Move { file: file.clone(), ..step(SERVICE, name) });

    let error = apply(folder.path(), &moves).unwrap_err();

    assert!(matches!(&error, Error::NotThere { dependency, .. } if dependency == "z"));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_uses_that_is_no_list_and_a_file_that_is_no_toml_are_refused() {
    let text = "[package.metadata.service]\ndepends-on = [\"a\"]\nuses = \"b\"\n";
    assert!(matches!(moved(text, &step(SERVICE, "a")), Err(Error::NotAList { .. })));
    assert!(matches!(moved("[", &step(SERVICE, "a")), Err(Error::Syntax { .. })));
    assert!(matches!(moved("", &step(SERVICE, "a")), Err(Error::NotThere { .. })));
}
