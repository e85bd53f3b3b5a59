//! The examples of `problems.md`: each wrong one shows its problem, each right one shows none.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;
use xtask_core::manifest::{self, Binary, Package, Workspace};
use xtask_core::plan::{self, Request, Unreadable};
use xtask_core::problem::Code;

use super::document;

/// A code block: its kind, and its text.
fn blocks(section: &str) -> Vec<(&str, &str)> {
    let parts = section.split("```toml ").skip(1);
    parts
        .map(|part| {
            let (kind, rest) = part.split_once('\n').unwrap();
            (kind, rest.split_once("```").unwrap().0)
        })
        .collect()
}

/// The codes of the problems of an example, and its workspace as planned.
fn problems(example: &str) -> Vec<Code> {
    let mut request = Request { stack: "dev".into(), ..Request::default() };
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    files.insert("Cargo.toml", String::new());
    let mut file = "Cargo.toml";
    for line in example.lines() {
        if let Some(command) = line.strip_prefix("# $ up ") {
            match command.split_once(' ').unwrap() {
                ("--with", name) => request.overlays.push(name.into()),
                ("-e", variable) => request.variables.push(variable.into()),
                other => panic!("{other:?} is not understood"),
            }
        } else if let Some(path) = line.strip_prefix("# ").filter(|path| path.ends_with(".toml")) {
            file = path;
        } else {
            let text = files.entry(file).or_default();
            *text += line;
            text.push('\n');
        }
    }
    let root = Path::new("/repo");
    let mut manifests = Vec::new();
    for (path, text) in files {
        let (mut manifest, problems) = document::manifest(root, &root.join(path), text);
        if let Some(problem) = problems.first() {
            return vec![problem.code];
        }
        manifest.package =
            path.strip_suffix("/Cargo.toml").map(|name| package(name, &manifest.text));
        manifests.push(manifest);
    }
    let workspace = Workspace { root: "/repo".into(), manifests };
    let (declarations, mut problems) = manifest::read(&workspace);
    let outcome = plan::check(&declarations, &request, &|_| Err(Unreadable::Missing), &|_, _| None);
    problems.extend(outcome.problems);
    problems.into_iter().map(|problem| problem.code).collect()
}

fn package(name: &str, manifest: &str) -> Package {
    let table = DeTable::parse(manifest).unwrap().into_inner();
    let bins = table.get("bin").and_then(|bins| bins.get_ref().as_array());
    let mut names: Vec<String> = bins
        .into_iter()
        .flatten()
        .map(|bin| bin.get_ref()["name"].get_ref().as_str().unwrap().to_owned())
        .collect();
    if names.is_empty() && !table.contains_key("lib") {
        names.push(name.to_owned());
    }
    let features = table.get("features").and_then(|features| features.get_ref().as_table());
    let features = features.into_iter().flat_map(|features| features.keys());
    Package {
        name: name.into(),
        binaries: names.into_iter().map(|name| Binary { name, ..Binary::default() }).collect(),
        features: features.map(|name| name.get_ref().to_string()).collect(),
        ..Package::default()
    }
}

#[test]
fn each_code_has_a_wrong_and_a_right_example() {
    for code in Code::ALL {
        let section = code.section();
        let blocks = blocks(section);
        let kinds: Vec<&str> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, ["wrong", "right"], "{code}");
        let wrong = problems(blocks[0].1);
        assert!(wrong.contains(code), "{code}: {wrong:?}");
        assert!(wrong.iter().all(|other| other == code), "{code}: more than one: {wrong:?}");
        assert_eq!(problems(blocks[1].1), [], "{code}");
    }
}

#[test]
fn codes_are_listed_in_the_order_of_their_declaration() {
    let page = include_str!("../../problems.md");
    let listed: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let declared: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(listed, declared);
}
