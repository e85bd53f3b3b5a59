//! Files of other tools, and the metadata that they become.

use std::path::Path;

use super::super::proposal::render;
use super::*;

fn programs(names: &[&str]) -> Vec<Program> {
    let program = |name: &&str| Program {
        package: (*name).to_owned(),
        manifest: Path::new(name).join("Cargo.toml"),
        bin: (*name).to_owned(),
        main: Path::new(name).join("src/main.rs"),
    };
    names.iter().map(program).collect()
}

fn imported(file: &str, text: &str, names: &[&str]) -> Result<Imported, Error> {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(file);
    std::fs::write(&path, text).unwrap();
    import(root.path(), &path, &programs(names))
}

/// The proposals without their comments.
fn plain(imported: &Imported) -> String {
    let text = render(&imported.proposals);
    let lines = text.lines().map(|line| line.split("  # ").next().unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn procfile_runs_programs_and_commands() {
    let text = "web: PORT=8080 LOG=debug cargo run --release -p web -- --verbose\n\
                # a comment\n\
                db: postgres -D data -p $PORT\n\
                tail: tail -f $HOME/x | cat\n\
                nonsense\n";
    let imported = imported("Procfile", text, &["web", "api"]).unwrap();
    assert_eq!(
        plain(&imported),
        "# web/Cargo.toml\n[package.metadata.service]\nargs = [\"--verbose\"]\nport = 8080\n\
         env = { LOG = \"debug\" }\n\n\
         # Cargo.toml\n[workspace.metadata.services.db]\n\
         command = [\"postgres\", \"-D\", \"data\", \"-p\", \"${self.port}\"]\nport = 0\n\n\
         [workspace.metadata.services.tail]\n\
         command = [\"sh\", \"-c\", \"tail -f $$HOME/x | cat\"]\n"
    );
    assert_eq!(imported.not_carried, ["Procfile:5: the line is not `NAME: COMMAND`"]);
}

#[test]
fn dependencies_ini_becomes_ports_and_edges() {
    let text = "#Defines the microservice dependencies\n\n[front]\nhost = \"localhost\"\n\
                port = 5000\npreload = \"stock\"\n\n[stock]\nhost = \"localhost\"\nport = 5001\n\
                [cache]\nport = 6379\ncolor = red\n";
    let imported = imported("dependencies.ini", text, &["front", "stock"]).unwrap();
    assert_eq!(
        plain(&imported),
        "# front/Cargo.toml\n[package.metadata.service]\nport = 5000\ndepends-on = [\"stock\"]\n\n\
         # stock/Cargo.toml\n[package.metadata.service]\nport = 5001\n\n\
         # Cargo.toml\n[workspace.metadata.services.cache]\nexternal = true\nport = 6379\n"
    );
    assert_eq!(imported.not_carried, ["dependencies.ini:13: `color` has no key in the metadata"]);
}

#[test]
fn ini_mistake_names_its_line() {
    let error = imported("dependencies.ini", "[a]\nport = many\n", &[]).unwrap_err();
    assert!(error.to_string().ends_with("line 2: the port is not a number"), "{error}");
    let error = imported("dependencies.ini", "port = 1\n", &[]).unwrap_err();
    assert!(error.to_string().contains("before the first section"), "{error}");
}

#[test]
fn compose_services_become_programs_and_images() {
    let text = "\
services:
  api:
    build: .
    ports: [\"3000:3000\"]
    environment:
      DATABASE_URL: postgres://app:${DB_PASSWORD:-x}@db:5432/app
      REDIS: redis:6379
    depends_on:
      db: { condition: service_healthy }
  db:
    image: postgres:17
    ports: [\"127.0.0.1:15432:5432\"]
    volumes: [\"data:/var/lib/postgresql/data\", \"./init:/docker-entrypoint-initdb.d:ro\"]
    healthcheck: { test: pg_isready }
  redis:
    image: redis:7
    expose: [6379]
    restart: unless-stopped
  old:
    build: ./old
volumes:
  data: {}
";
    let imported = imported("compose.yaml", text, &["api"]).unwrap();
    let text = plain(&imported);
    for part in [
        "[package.metadata.service]\nport = 3000\n",
        "DATABASE_URL = \"postgres://app:${env.DB_PASSWORD}@${db.host}:${db.port}/app\"",
        "REDIS = \"${redis.host}:${redis.port}\"",
        "depends-on = [\"db\"]\nuses = [\"redis\"]\n",
        "[workspace.metadata.services.db]\nimage = \"postgres:17\"\nport = 5432\n",
        "\"/var/lib/postgresql/data\" = \"${stack.data}/data\"",
        "\"/docker-entrypoint-initdb.d\" = \"init\"",
        "image = \"redis:7\"\nport = 6379\nrestart = \"always\"",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    let lost = imported.not_carried.join("\n");
    assert!(lost.contains("`db`: `healthcheck`") && lost.contains("`old` is built"), "{lost}");
}

#[test]
fn other_files_are_refused() {
    let error = imported("Makefile", "all:\n", &[]).unwrap_err();
    assert!(format!("{:?}", error.failure()).contains("import a `Procfile`"));
    let error = imported("compose.yaml", "services: [\n", &[]).unwrap_err();
    assert!(matches!(error, Error::Syntax { .. }), "{error}");
}

#[test]
fn impossible_name_is_refused_with_a_way_out() {
    for (file, text) in [
        ("compose.yaml", "services:\n  my.db:\n    image: postgres\n"),
        ("compose.yaml", "services:\n  \"\":\n    image: postgres\n"),
        ("Procfile", "my.db: postgres\n"),
        ("dependencies.ini", "[my db]\nport = 5000\n"),
    ] {
        let error = imported(file, text, &[]).unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{file}: {error}");
    }
}

#[test]
fn other_encoding_is_refused_with_a_way_out() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("Procfile");
    std::fs::write(&path, b"web: caf\xe9").unwrap();
    let error = import(root.path(), &path, &[]).unwrap_err();
    assert!(format!("{:?}", error.failure()).contains("save it as UTF-8"));
}
