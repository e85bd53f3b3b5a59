//! `docs/metadata.md` lists the keys as they are declared, and each default is the real one.
//!
//! `XTASK_BLESS=1` writes the list into the document.

use std::fmt::Write as _;
use std::path::Path;

use xtask_core::manifest::declare::{Key, Merge, Type};
use xtask_core::manifest::keys::{SECTION_KEYS, SETTINGS};
use xtask_core::manifest::{self, Binary, Package, Workspace};
use xtask_core::plan::{self, Plan, Request};

use super::document;

const BEGIN: &str = "<!-- keys: begin -->\n";
const END: &str = "<!-- keys: end -->\n";

#[test]
fn document_lists_the_declared_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metadata.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}{END}{after}", reference());
    if std::env::var_os("XTASK_BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert!(
            text == expected,
            "docs/metadata.md differs from xtask/core/src/manifest/keys.rs; update it with: \
             XTASK_BLESS=1 cargo test -p xtask-core --test metadata reference"
        );
    }
}

#[test]
fn documented_default_changes_no_plan() {
    let mut tried = 0;
    for key in SETTINGS {
        match key.takes {
            Type::Table(inner) => {
                let needs_http = matches!(key.name, "ready" | "health");
                let first = if needs_http { "http = \"/\"" } else { "" };
                let plain = format!("{} = {{ {first} }}", key.name);
                for key_inside in inner.iter().filter(|key| !key.default.is_empty()) {
                    let comma = if first.is_empty() { "" } else { ", " };
                    let set = format!("{} = {}", key_inside.name, key_inside.default);
                    let with = format!("{} = {{ {first}{comma}{set} }}", key.name);
                    assert_eq!(plan_of(&plain), plan_of(&with), "{with}");
                    tried += 1;
                }
            }
            _ if key.default.is_empty() => {}
            _ => {
                let with = format!("{} = {}", key.name, key.default);
                assert_eq!(plan_of(""), plan_of(&with), "{with}");
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "only {tried} defaults were tried");
}

/// The table between the markers.
fn reference() -> String {
    let mut out =
        "| key | value | default | overlay | meaning |\n|---|---|---|---|---|\n".to_owned();
    for key in SECTION_KEYS.iter().chain(SETTINGS) {
        row(&mut out, "", key);
        if let Type::Table(inner) = key.takes {
            inner.iter().for_each(|inner| row(&mut out, &format!("{}.", key.name), inner));
        }
    }
    out
}

fn row(out: &mut String, above: &str, key: &Key) {
    let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
    let merge = match key.merge {
        Merge::Replace => "replaces",
        Merge::ByKey => "merges by key",
        Merge::Unite => "unites",
    };
    let (name, doc) = (key.name, key.doc);
    writeln!(out, "| `{above}{name}` | {} | {default} | {merge} | {doc} |", takes(key.takes))
        .unwrap();
}

fn takes(takes: Type) -> String {
    match takes {
        Type::Text => "text".into(),
        Type::Texts => "list of texts".into(),
        Type::TextOrTexts => "text, or list of texts".into(),
        Type::TextTable => "table of texts".into(),
        Type::Boolean => "boolean".into(),
        Type::Choice(choices) => {
            let choices: Vec<String> = choices.iter().map(|c| format!("`\"{c}\"`")).collect();
            choices.join(", ")
        }
        Type::Duration => "duration, `\"10s\"`".into(),
        Type::Size => "size, `\"64M\"`".into(),
        Type::Count(least, most) => format!("{least} to {most}"),
        Type::Number => "number".into(),
        Type::Port => "port number".into(),
        Type::Ports => "table of port numbers".into(),
        Type::Dependencies => "list of names, or table".into(),
        Type::Statuses => "status, or list of them".into(),
        Type::Table(_) => "table".into(),
    }
}

/// The plan of a package with one service that has a port and these keys.
fn plan_of(keys: &str) -> Plan {
    let text = format!("[package.metadata.service]\nport = 0\n{keys}\n");
    let root = Path::new("/repo");
    let (mut manifest, problems) = document::manifest(root, &root.join("Cargo.toml"), text);
    assert_eq!(problems, []);
    manifest.package = Some(Package {
        name: "api".into(),
        binaries: vec![Binary { name: "api".into(), ..Binary::default() }],
        ..Package::default()
    });
    let workspace = Workspace { root: "/repo".into(), manifests: vec![manifest] };
    let (declarations, problems) = manifest::read(&workspace);
    assert_eq!(problems, []);
    let outcome =
        plan::make(&declarations, &Request::default(), &|_| Err(plan::Unreadable::Missing));
    outcome.plan.unwrap_or_else(|| panic!("{:?}", outcome.problems))
}
