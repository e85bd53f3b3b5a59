//! Workspaces before and after a package is added.

use super::*;

fn workspace(manifest: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("Cargo.toml"), manifest).unwrap();
    root
}

fn wanted(name: &str) -> Wanted {
    Wanted { name: name.into(), is_job: false, depends_on: vec!["user-db".into()], port: 5002 }
}

fn text(root: &tempfile::TempDir, path: &str) -> String {
    fs::read_to_string(root.path().join(path)).unwrap()
}

#[test]
fn pattern_of_members_decides_the_folder() {
    let manifest = "[workspace]\nmembers = [\"libs/*\", \"services/*\"] # all\n";
    let root = workspace(manifest);
    let added = add(root.path(), &wanted("mail")).unwrap();
    assert!(!added.root_changed);
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
fn bad_names_and_single_packages_are_refused() {
    let root = workspace("[package]\nname = \"one\"\n");
    for name in ["", "Mail", "../mail", "9mail", "mail-", "ma il"] {
        assert!(matches!(add(root.path(), &wanted(name)), Err(Error::Name { .. })), "{name}");
    }
    assert!(matches!(add(root.path(), &wanted("mail")), Err(Error::NoWorkspace)));
    assert!(!root.path().join("mail").exists());
}
