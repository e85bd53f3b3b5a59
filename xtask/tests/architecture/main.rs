//! The floors of the architecture, held by reading every file of the workspace.
//!
//! What a compiler could say is left to the compiler. Each rule is tried on bad input
//! first: a rule that cannot fail holds nothing.

#![allow(clippy::unwrap_used)]

mod bad;
mod documents;
mod faults;
mod rooms;
mod rules;
mod source;
mod streams;
mod style;

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::DocumentMut;

use rooms::Graph;
use rules::{File, Words};

/// Names of services that the tool uses as ordinary words. A new service may add its name.
const ORDINARY_WORDS: [&str; 1] = ["web"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every text file below the folder, but what a build made.
fn files(folder: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "there are no files in `{folder}`");
    found
}

fn sources() -> Vec<File> {
    let all = ["xtask", "services", "tests"].into_iter().flat_map(files);
    all.filter(|file| file.path.ends_with(".rs")).collect()
}

fn manifest(path: &str) -> DocumentMut {
    fs::read_to_string(root().join(path)).unwrap().parse().unwrap()
}

/// The folders of the sample application's packages, and the packages' names.
fn services() -> Vec<(String, String)> {
    let mut services = Vec::new();
    for entry in fs::read_dir(root().join("services")).unwrap() {
        let folder = format!("services/{}", entry.unwrap().file_name().to_str().unwrap());
        if root().join(&folder).join("Cargo.toml").exists() {
            let name = manifest(&format!("{folder}/Cargo.toml"))["package"]["name"].clone();
            services.push((folder, name.as_str().unwrap().to_owned()));
        }
    }
    services.sort();
    services
}

/// The keys at the top of every JSON document in the sample application's data folders,
/// which are its people.
fn people() -> Vec<String> {
    let mut people = Vec::new();
    for file in files("services").iter().filter(|file| file.path.contains("/data/")) {
        if let Ok(serde_json::Value::Object(document)) = serde_json::from_str(&file.text) {
            people.extend(document.keys().cloned());
        }
    }
    people.sort();
    people.dedup();
    people
}

#[track_caller]
fn holds(wrong: impl IntoIterator<Item = String>) {
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn imports_stay_inside_their_limits() {
    holds(sources().iter().flat_map(rules::imports));
}

/// Prints which room names which, and how often.
#[test]
fn rooms_follow_their_order_without_a_circle() {
    let sources = sources();
    let mut wrong = Vec::new();
    for (src, order) in [rooms::CORE, rooms::TOOL, rooms::RARE] {
        let graph = Graph::read(src, &sources);
        assert!(!graph.is_empty(), "`{src}` has no rooms");
        println!("{src}\n{graph}");
        wrong.extend(graph.against(order));
        wrong.extend(graph.circles());
    }
    holds(wrong);
}

#[test]
fn supervisor_code_uses_no_printing_macro() {
    holds(sources().iter().flat_map(rules::prints));
}

#[test]
fn statement_with_a_limit_is_planned_once() {
    holds(sources().iter().flat_map(rules::bare_limits));
}

#[test]
fn text_reaches_the_terminal_through_one_filter() {
    holds(sources().iter().flat_map(streams::unfiltered));
}

#[test]
fn messages_name_the_tool_as_it_was_called() {
    holds(sources().iter().flat_map(rules::fixed_names));
}

#[test]
fn core_is_no_std_and_forbids_unsafe() {
    let lib = fs::read_to_string(root().join("xtask/core/src/lib.rs")).unwrap();
    for line in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        assert!(lib.lines().any(|other| other == line), "`{line}` is missing");
    }
}

#[test]
fn packages_depend_downwards_only() {
    let services = services();
    let names: Vec<String> = services.iter().map(|(_, name)| name.clone()).collect();
    let tool = [
        "xtask",
        "xtask/daily",
        "xtask/core",
        "xtask/client",
        "xtask/control",
        "xtask/logs",
        "xtask/testing",
        "xtask/tests/support",
        "tests",
    ]
    .map(str::to_owned);
    let folders = tool.into_iter().chain(services.into_iter().map(|(folder, _)| folder));
    holds(folders.flat_map(|folder| {
        rules::edges(&folder, &manifest(&format!("{folder}/Cargo.toml")), &names)
    }));
}

#[test]
fn tool_does_not_mention_the_application() {
    let names = services().into_iter().map(|(_, name)| name);
    let names = names.filter(|name| !ORDINARY_WORDS.contains(&name.as_str()));
    let words = Words { services: names.collect(), names: people() };
    assert!(!words.services.is_empty() && !words.names.is_empty(), "{words:?}");
    holds(files("xtask").iter().flat_map(|file| rules::mentions(file, &words)));
}

#[test]
fn every_listed_fault_names_its_tests() {
    let tests = sources().iter().flat_map(|file| faults::tests(&file.text)).collect();
    let document = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    holds(faults::faults(&document, &tests));
}

#[test]
fn every_promise_names_its_tests() {
    let files = sources();
    let tests = files.iter().flat_map(|file| faults::tests(&file.text)).collect();
    let document = fs::read_to_string(root().join("docs/security.md")).unwrap();
    holds(faults::faults(&document, &tests));
    holds(faults::misplaced(&document, &files));
}

#[test]
fn files_are_documented_short_and_without_ignored_tests() {
    // The sources of cases are what they are about, like any other text in them.
    let written = sources().into_iter().filter(|file| !file.path.contains("/tests/cases/"));
    holds(written.flat_map(|file| rules::shape(&file)));
}

#[test]
fn every_nextest_profile_limits_time() {
    let table = manifest(".config/nextest.toml");
    let default = table["profile"]["default"].as_table().unwrap();
    let overrides = default["overrides"].as_array_of_tables().unwrap();
    for settings in overrides.iter().chain([default]) {
        let periods = settings["slow-timeout"]["terminate-after"].as_integer();
        assert!(periods.is_some_and(|periods| periods > 0), "{settings}");
    }
}

/// Prints the mean length of the names of tests.
#[test]
fn style_is_kept() {
    let page = fs::read_to_string(root().join(style::PAGE)).unwrap();
    let banned = style::banned(&page);
    assert!(banned.len() > 10, "`{}` bans only {banned:?}", style::PAGE);
    let files: Vec<File> = files("").into_iter().filter(|file| file.path != style::PAGE).collect();
    let mut wrong = Vec::new();
    let (mut names, mut length) = (0, 0);
    for file in &files {
        wrong.extend(style::banned_words(file, &banned));
        if file.path.ends_with(".rs") {
            wrong.extend(style::empty_docs(file));
            wrong.extend(style::long_names(file));
            for (_, words) in style::test_names(file) {
                (names, length) = (names + 1, length + words);
            }
        }
    }
    println!("{names} tests, {}.{} words a name", length / names, length * 10 / names % 10);
    holds(wrong);
}
