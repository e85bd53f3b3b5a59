//! Small programs, and the metadata that is proposed for them.

use std::fs;
use std::path::Path;

use super::super::proposal::render;
use super::*;

/// A folder with these files, and a program for each `main.rs` and each file of `src/bin`.
fn workspace(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<Program>) {
    let root = tempfile::tempdir().unwrap();
    let mut programs = Vec::new();
    for (path, text) in files {
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let Some((package, rest)) = path.split_once('/') else { continue };
        let bin = match rest {
            "src/main.rs" => package,
            other => match other.strip_prefix("src/bin/").and_then(|bin| bin.strip_suffix(".rs")) {
                Some(bin) => bin,
                None => continue,
            },
        };
        programs.push(Program {
            package: package.to_owned(),
            manifest: Path::new(package).join("Cargo.toml"),
            bin: bin.to_owned(),
            main: file,
        });
    }
    (root, programs)
}

fn proposed(files: &[(&str, &str)]) -> (String, Outcome) {
    let (root, programs) = workspace(files);
    let outcome = propose(root.path(), &programs);
    (render(&outcome.proposals), outcome)
}

#[test]
fn constant_port_is_fixed_and_names_its_place() {
    let (text, _) = proposed(&[(
        "api/src/main.rs",
        "fn main() {\n    let l = TcpListener::bind(\"0.0.0.0:3000\");\n    route(\"/health\");\n}\n",
    )]);
    assert_eq!(
        text,
        "# api/Cargo.toml\n[package.metadata.service]\n\
         port = 3000                   # from api/src/main.rs:2\n\
         fixed-port = true             # a guess: its sources do not read `PORT`\n\
         ready = { http = \"/health\" }  # a guess: the path in api/src/main.rs:3\n\n"
    );
}

#[test]
fn read_port_is_not_fixed() {
    let main = "let port = env::var(\"PORT\").unwrap_or(\"3000\".into());\nTcpListener::bind(addr)";
    let (text, _) = proposed(&[("api/src/main.rs", main)]);
    assert!(text.contains("port = 3000") && !text.contains("fixed-port"), "{text}");
}

#[test]
fn own_variable_of_the_address_is_set() {
    let main = "let addr = env::var(\"BIND_ADDR\").unwrap_or(\"0.0.0.0:3000\".into());\naxum::serve(l, app)";
    let (text, _) = proposed(&[("api/src/main.rs", main)]);
    assert!(text.contains("env = { BIND_ADDR = \"${self.host}:${self.port}\" }"), "{text}");
    assert!(!text.contains("fixed-port"), "{text}");
}

#[test]
fn dotenv_decides_the_port() {
    let (text, _) = proposed(&[
        ("api/src/main.rs", "TcpListener::bind(address(env::var(\"PORT\")?))"),
        ("api/.env", "# local\nPORT=4321\n"),
    ]);
    assert!(text.contains("port = 4321") && text.contains("# from api/.env:2"), "{text}");
}

#[test]
fn calls_become_dependencies_without_a_cycle() {
    let api = "TcpListener::bind(\"0.0.0.0:3000\");\nlet auth = env::var(\"AUTH_ENDPOINT\")?;";
    let auth = "TcpListener::bind(\"0.0.0.0:4000\");\nget(\"http://localhost:3000/items\")";
    let (text, _) = proposed(&[("api/src/main.rs", api), ("auth/src/main.rs", auth)]);
    assert!(text.contains("depends-on = [\"auth\"]"), "{text}");
    assert!(text.contains("env = { AUTH_ENDPOINT = \"${auth.url}\" }"), "{text}");
    assert!(text.contains("uses = [\"api\"]"), "{text}");
}

#[test]
fn programs_of_one_package_get_their_own_sections() {
    let (text, outcome) = proposed(&[
        ("apps/src/bin/web.rs", "TcpListener::bind(\"0.0.0.0:3000\")"),
        ("apps/src/bin/admin.rs", "TcpListener::bind(\"0.0.0.0:3001\")"),
        ("apps/src/bin/migrate.rs", "fn main() {}"),
    ]);
    assert!(text.contains("[package.metadata.services.web]\nbin = \"web\""), "{text}");
    assert!(text.contains("[package.metadata.services.admin]"), "{text}");
    let reason = "its sources show no listener".to_owned();
    assert_eq!(outcome.left_out, [("migrate".to_owned(), reason)]);
}

#[test]
fn servers_outside_the_workspace_are_noted() {
    let (_, outcome) = proposed(&[
        ("api/src/main.rs", "TcpListener::bind(\"0.0.0.0:3000\");"),
        (".env", "DATABASE_URL=postgres://app@localhost:5432/app\n"),
        ("compose.yaml", "services:\n  db:\n    image: postgres:17\n"),
    ]);
    assert!(outcome.notes.iter().any(|note| note.contains("5432 (PostgreSQL)")), "{outcome:?}");
    assert!(outcome.notes.iter().any(|note| note.contains("import compose.yaml")), "{outcome:?}");
}
