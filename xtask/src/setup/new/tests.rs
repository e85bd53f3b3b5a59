//! Workspaces before and after a package is added.

use super::*;

fn workspace(manifest: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("Cargo.toml"), manifest).unwrap();
    root
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.into(),
        is_job: false,
        depends_on: vec![dependency("user-db", true)],
        port: 5002,
        taken: vec!["tests".into()],
    }
}

fn dependency(name: &str, serves_http: bool) -> Dependency {
    Dependency { name: name.into(), serves_http }
}

fn text(root: &tempfile::TempDir, path: &str) -> String {
    fs::read_to_string(root.path().join(path)).unwrap()
}

#[test]
fn pattern_of_members_decides_the_folder() {
    let manifest = "[workspace]\nmembers = [\"libs/*\", \"services/*\"] # all\n";
    let root = workspace(manifest);
    let added = add(root.path(), &wanted("mail")).unwrap();
    assert!(added.changed.is_empty() && !added.from_template, "{added:?}");
    assert_eq!(text(&root, "Cargo.toml"), manifest);
    let own = text(&root, "services/mail/Cargo.toml");
    assert!(own.contains("port = 5002\ndepends-on = [\"user-db\"]"), "{own}");
    own.parse::<DocumentMut>().unwrap();
    let main = text(&root, "services/mail/src/main.rs");
    assert!(main.contains("The tool sets `USER_DB_URL`.") && !main.contains("{{"), "{main}");
}

#[test]
fn listed_members_get_one_more_line() {
    let root = workspace(
        "[workspace]\nmembers = [\n    \"a\",\n    # the second\n    \"b\",\n]\n\n\
         [workspace.metadata.xtask]\ndefault = [\"a\"]\n",
    );
    add(root.path(), &wanted("mail")).unwrap();
    assert_eq!(
        text(&root, "Cargo.toml"),
        "[workspace]\nmembers = [\n    \"a\",\n    # the second\n    \"b\",\n    \"mail\",\n]\n\n\
         [workspace.metadata.xtask]\ndefault = [\"a\", \"mail\"]\n"
    );
}

#[test]
fn nothing_else_is_added_to_the_root() {
    let root = workspace("[workspace]\nmembers = [\"a\"]\n");
    add(root.path(), &wanted("mail")).unwrap();
    assert_eq!(text(&root, "Cargo.toml"), "[workspace]\nmembers = [\"a\", \"mail\"]\n");
}

#[test]
fn template_of_the_workspace_is_used() {
    let root =
        workspace("[workspace]\nmembers = [\"services/*\"]\nmetadata.xtask.template = \"parts\"\n");
    let folder = root.path().join("parts/service/services/{{name}}/src");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("main.rs"), "// {{NAME}} {{crate}} {{port}} {{depends-on}}").unwrap();
    fs::write(folder.join("../Cargo.toml.template"), "[package]\nname = \"{{name}}\"\n").unwrap();
    let added = add(root.path(), &wanted("my-mail")).unwrap();
    assert_eq!(added.files.len(), 2);
    let main = text(&root, "services/my-mail/src/main.rs");
    assert_eq!(main, "// MY_MAIL my_mail 5002 [\"user-db\"]");
    let job = Wanted { is_job: true, ..wanted("other") };
    assert!(matches!(add(root.path(), &job), Err(Error::EmptyTemplate { kind: "job", .. })));
}

#[test]
fn template_repeats_parts_for_each_dependency() {
    let root = workspace("[workspace]\nmembers = [\"a\"]\nmetadata.xtask.template = \"parts\"\n");
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "parts/service/list.toml.template",
        "all = [\n  \"keys\",\n{{#dependencies}}\n  \"{{dependency}}\",\n{{/dependencies}}\n]\n\
         {{#upstreams}}\n{{UPSTREAM}}_URL = \"{{Upstream}}\"\n{{/upstreams}}\n",
    );
    write("parts/service/calls/{{upstream_crate}}.rs", "//! {{upstream}} for {{name}}\n");
    write("parts/service/main.rs.lines", "mod {{crate}};\n");
    write("main.rs", "//! The parts.\n\nmod about;\n#[cfg(unix)]\nmod other;\n\nfn main() {}\n");
    let all =
        [dependency("keys", false), dependency("log-file", false), dependency("user-db", true)];
    let wanted = Wanted { depends_on: all.into(), ..wanted("mail") };
    let added = add(root.path(), &wanted).unwrap();
    assert_eq!(
        text(&root, "list.toml"),
        "all = [\n  \"keys\",\n  \"log-file\",\n  \"user-db\",\n]\nUSER_DB_URL = \"UserDb\"\n"
    );
    assert_eq!(text(&root, "calls/user_db.rs"), "//! user-db for mail\n");
    assert_eq!(fs::read_dir(root.path().join("calls")).unwrap().count(), 1);
    // The attribute stays with its line.
    assert_eq!(
        text(&root, "main.rs"),
        "//! The parts.\n\nmod about;\nmod mail;\n#[cfg(unix)]\nmod other;\n\nfn main() {}\n"
    );
    assert_eq!(added.changed, [Path::new("main.rs")]);
}

#[test]
fn dependency_named_as_a_module_is_refused() {
    let root = workspace("[workspace]\nmembers = [\"a\"]\nmetadata.xtask.template = \"parts\"\n");
    let parts = root.path().join("parts/service");
    fs::create_dir_all(parts.join("http")).unwrap();
    for name in ["store.rs", "http/mod.rs", "{{upstream_crate}}.rs"] {
        fs::write(parts.join(name), "//! {{name}}\n").unwrap();
    }
    for name in ["store", "http"] {
        let wanted = Wanted { depends_on: vec![dependency(name, true)], ..wanted("mail") };
        let Err(Error::Twice { path }) = add(root.path(), &wanted) else { panic!("{name}") };
        assert_eq!(path, Path::new(&format!("{name}.rs")));
        assert!(!root.path().join("store.rs").exists());
    }
    let wanted = Wanted { depends_on: vec![dependency("http", false)], ..wanted("mail") };
    add(root.path(), &wanted).unwrap();
}

#[test]
fn lines_are_sorted_and_added_once() {
    let text = "mod a;\nmod ab;\nfn x() {}\n";
    for (line, expected) in [
        ("mod aa;", "mod a;\nmod aa;\nmod ab;\nfn x() {}\n"),
        ("mod b;", "mod a;\nmod ab;\nmod b;\nfn x() {}\n"),
        ("mod a;", text),
        ("use y;", "mod a;\nmod ab;\nfn x() {}\nuse y;\n"),
    ] {
        assert_eq!(template::with_lines(text, line), expected, "{line}");
    }
}

#[test]
fn nothing_is_overwritten() {
    let root = workspace("[workspace]\nmembers = []\n");
    fs::create_dir_all(root.path().join("mail/src")).unwrap();
    fs::write(root.path().join("mail/src/main.rs"), "mine").unwrap();
    assert!(matches!(add(root.path(), &wanted("mail")), Err(Error::Exists { .. })));
    assert_eq!(text(&root, "mail/src/main.rs"), "mine");
    assert!(!root.path().join("mail/Cargo.toml").exists());
    assert_eq!(text(&root, "Cargo.toml"), "[workspace]\nmembers = []\n");
}

#[test]
fn names_of_packages_and_dependencies_are_refused() {
    let root = workspace("[workspace]\nmembers = []\nmetadata.xtask.template = \"parts\"\n");
    let folder = root.path().join("parts/service/{{name}}");
    fs::create_dir_all(&folder).unwrap();
    let manifest = "[package]\nname = \"{{name}}\"\n\n[dependencies]\naxum.workspace = true\n\n\
                    [dev-dependencies]\ntower = { version = \"1\" }\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/main.rs"), "use {{crate}}::http;\nuse {{crate}}::a;\n").unwrap();
    for name in ["tests", "axum", "tower", "http"] {
        assert!(matches!(add(root.path(), &wanted(name)), Err(Error::Reserved { .. })), "{name}");
        assert!(!root.path().join(name).exists());
    }
    add(root.path(), &wanted("mail")).unwrap();
}

#[test]
fn bad_names_and_single_packages_are_refused() {
    let root = workspace("[package]\nname = \"one\"\n");
    for name in ["", "Mail", "../mail", "9mail", "mail-", "ma il"] {
        assert!(matches!(add(root.path(), &wanted(name)), Err(Error::Name { .. })), "{name}");
    }
    for name in ["match", "test", "build"] {
        assert!(matches!(add(root.path(), &wanted(name)), Err(Error::Reserved { .. })), "{name}");
    }
    assert!(matches!(add(root.path(), &wanted("mail")), Err(Error::NoWorkspace)));
    assert!(!root.path().join("mail").exists());
}
