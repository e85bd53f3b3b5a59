//! Random workspaces with cycles, in every form, repaired as `check --fix` does.
//! `XTASK_SEEDS` sets how many.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;
use xtask_core::manifest::{self, Binary, Package, Workspace};
use xtask_core::plan::{self, Planned, Request};
use xtask_core::problem::Code;
use xtask_core::terms::chance::Chance;

use super::{Applied, apply};
use crate::workspace::json;
use xtask::workspace::document;

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

type Texts = BTreeMap<String, String>;

/// Writes one file.
struct Writer<'a> {
    chance: &'a mut Chance,
    text: String,
}

impl Writer<'_> {
    fn one_in(&mut self, of: usize) -> bool {
        self.chance.below(of) == 0
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        self.chance.pick(from).unwrap()
    }

    fn line(&mut self, line: &str) {
        self.text.extend([line, "\n"]);
    }

    /// Perhaps a comment, unique, with signs that mean something elsewhere.
    fn comment(&mut self, before: &str, after: &str) -> String {
        if !self.one_in(6) {
            return String::new();
        }
        let number = self.chance.below(1_000_000_000);
        let tail = self.pick(&["", " # more", " = [\"a\"]", " [x]", " {\"}", " é,"]);
        format!("{before}#{number}#{tail}{after}")
    }

    /// Perhaps a line that no edit may touch.
    fn unrelated(&mut self) {
        let number = self.chance.below(1_000_000_000);
        let value =
            self.pick(&["'depends-on = [\"a\"]'", "\"\"\"\nuses = [ # x\n\"\"\"", "\"#\"\t"]);
        if self.one_in(2) {
            let line = format!("  env.E{number}={value}");
            self.line(&line);
        }
    }

    /// An array on one line or several.
    fn array(&mut self, names: &[&str], on_lines: bool) -> String {
        let quote = self.pick(&["\"", "'"]);
        let names: Vec<String> = names.iter().map(|name| format!("{quote}{name}{quote}")).collect();
        if !on_lines {
            let space = self.pick(&["", " "]);
            return format!("[{space}{}{space}]", names.join(", "));
        }
        let mut text = format!("[{}\n", self.comment(" ", ""));
        for (index, name) in names.iter().enumerate() {
            let comma = if index + 1 < names.len() { "," } else { self.pick(&[",", ""]) };
            let (above, behind) = (self.comment("    ", "\n"), self.comment("  ", ""));
            writeln!(text, "{above}    {name}{comma}{behind}").unwrap();
        }
        text + &self.comment("    ", "\n") + "]"
    }

    fn key(&mut self, key: &str, value: &str) {
        let (above, behind) = (self.comment("", "\n"), self.comment(" ", ""));
        self.line(&format!("{above}{key} = {value}{behind}"));
    }

    fn condition(&mut self) -> &'static str {
        self.pick(&["\"started\"", "\"ready\"", "{ condition = \"ready\", restart = true }"])
    }

    /// Some of the other services, each once in one of two lists.
    fn others(&mut self, service: &str, all: &[&'static str]) -> [Vec<&'static str>; 2] {
        let mut lists = [Vec::new(), Vec::new(), Vec::new()];
        for name in all.iter().filter(|name| **name != service) {
            lists[self.chance.below(3)].push(*name);
        }
        let [waits, uses, _] = lists;
        [waits, uses]
    }

    /// The edges of a service in one of the forms; a table of conditions ends it.
    fn edges(&mut self, path: &str, service: &str, all: &[&'static str]) {
        let [waits, uses] = self.others(service, all);
        let (form, on_lines, has_uses) = (self.chance.below(4), self.one_in(2), self.one_in(2));
        let uses = self.array(&uses, on_lines && !uses.is_empty());
        let uses_first = self.one_in(2);
        if has_uses && uses_first {
            self.key("uses", &uses);
        }
        self.unrelated();
        match form {
            0 => {
                let waits = self.array(&waits, on_lines && !waits.is_empty());
                self.key("depends-on", &waits);
            }
            1 => {
                let pairs = waits.iter().map(|name| format!("{name} = {}", self.condition()));
                let pairs = format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "));
                self.key("depends-on", &pairs);
            }
            2 => self.conditions("depends-on.", &waits),
            _ => {}
        }
        self.unrelated();
        if has_uses && !uses_first {
            self.key("uses", &uses);
        }
        if form == 3 {
            let above = self.comment("", "\n");
            self.line(&format!("\n{above}[{path}.depends-on]"));
            self.conditions("", &waits);
        }
    }

    fn conditions(&mut self, prefix: &str, names: &[&str]) {
        for name in names {
            let condition = self.condition();
            self.key(&format!("{prefix}{name}"), condition);
        }
    }

    fn service(&mut self, path: &str, first: &str, service: &str, all: &[&'static str]) {
        self.line(&format!("\n[{path}]\n{first}"));
        self.edges(path, service, all);
        if self.one_in(3) {
            let path = format!("{path}.with.fast");
            self.line(&format!("\n[{path}]"));
            self.edges(&path, service, all);
        }
    }

    fn done(self) -> String {
        if self.chance.below(4) == 0 { self.text.replace('\n', "\r\n") } else { self.text }
    }
}

/// Services in packages, in tables of the root, and tables of the root that extend a
/// package's.
fn random_workspace(chance: &mut Chance) -> Texts {
    let mut out = Texts::new();
    let all = &NAMES[..2 + chance.below(NAMES.len() - 1)];
    let (packages, others) = all.split_at(chance.below(all.len() + 1));
    for name in packages {
        let text =
            format!("[package]\nname = \"{name}\"\n\n[dependencies]\ndepends-on = \"1\"  # x\n");
        let mut file = Writer { chance, text };
        file.service("package.metadata.service", "port = 0", name, all);
        out.insert(format!("{name}/Cargo.toml"), file.done());
    }
    let text = "[workspace]\nmembers = [ \"*\" ]\n".to_owned();
    let mut root = Writer { chance, text };
    let path = |name: &str| format!("workspace.metadata.services.{name}");
    for name in others {
        root.service(&path(name), "command = [\"x\"]", name, all);
    }
    for name in packages {
        if root.one_in(4) {
            root.service(&path(name), "adopt = \"never\"", name, all);
        }
    }
    out.insert("Cargo.toml".to_owned(), root.done());
    out
}

fn read(root: &Path, files: &Texts) -> Texts {
    let read = |file: &String| (file.clone(), fs::read_to_string(root.join(file)).unwrap());
    files.keys().map(read).collect()
}

/// What `check` finds.
fn check(root: &Path, files: &Texts) -> Planned {
    let manifests = read(root, files).into_iter().map(|(file, text)| {
        let (mut manifest, problems) = document::manifest(root, &root.join(&file), text);
        assert_eq!(problems, [], "{}", manifest.text);
        manifest.package = file.split_once('/').map(|(name, _)| Package {
            id: name.to_owned(),
            spec: name.to_owned(),
            name: name.to_owned(),
            binaries: vec![Binary { name: name.to_owned(), ..Binary::default() }],
            ..Package::default()
        });
        manifest
    });
    let workspace = Workspace { root: root.display().to_string(), manifests: manifests.collect() };
    let (declarations, problems) = manifest::read(&workspace);
    assert_eq!(problems, []);
    let request = Request { stack: "dev".into(), data: "/data".into(), ..Request::default() };
    let outcome =
        plan::check(&declarations, &request, &|_| Err(plan::Unreadable::Missing), &|_, _| None);
    let others = outcome.problems.iter().filter(|problem| problem.code != Code::Cycle);
    assert_eq!(others.count(), 0, "{:#?}", outcome.problems);
    outcome
}

/// Repairs until no cycle is left, and returns the files that only their author edited.
fn fix(root: &Path, files: &Texts) -> (usize, BTreeSet<String>) {
    let (mut moved, mut by_hand) = (0, BTreeSet::new());
    loop {
        let repairs = check(root, files).repairs;
        if repairs.is_empty() {
            return (moved, by_hand);
        }
        let before = read(root, files);
        let Applied { moved: written, unwritten } = apply(root, &repairs).unwrap();
        moved += written.len();
        for edit in unwritten {
            let file = edit.file.display().to_string();
            assert_eq!(fs::read_to_string(root.join(&edit.file)).unwrap(), before[&file]);
            fs::write(root.join(&edit.file), &edit.after).unwrap();
            moved += edit.moved.len();
            by_hand.insert(file);
        }
    }
}

/// Removes the edges from a tree, and collects each with the key that declares it.
fn take_edges(tree: &mut Value, path: &str, found: &mut BTreeMap<String, &str>) {
    let Value::Object(tree) = tree else { return };
    for key in ["depends-on", "uses"] {
        let names: Vec<String> = match tree.remove(key) {
            Some(Value::Array(names)) => {
                names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
            }
            Some(Value::Object(pairs)) => pairs.into_iter().map(|(name, _)| name).collect(),
            Some(other) => {
                tree.insert(key.to_owned(), other);
                continue;
            }
            None => continue,
        };
        found.extend(names.into_iter().map(|name| (format!("{path} {name}"), key)));
    }
    for (key, value) in tree {
        take_edges(value, &format!("{path}.{key}"), found);
    }
}

/// Asserts that names moved from `depends-on` to `uses`, and that the rest is as before.
fn only_edges_moved(before: &str, after: &str, by_hand: bool, seed: u64) -> usize {
    let shown = format!("seed {seed}\n--- before\n{before}--- after\n{after}");
    let unrelated = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("env.E")).map(str::to_owned).collect()
    };
    assert_eq!(unrelated(before), unrelated(after), "{shown}");
    let tail = |text: &str, comment: &str| {
        let line = text.lines().find_map(|line| line.find(comment).map(|at| line[at..].trim_end()));
        line.map(str::to_owned)
    };
    for number in before.split('#').filter(|part| part.parse::<usize>().is_ok()) {
        let comment = format!("#{number}#");
        if !by_hand {
            assert_eq!(tail(before, &comment), tail(after, &comment), "{shown}");
            assert_eq!(after.matches(&comment).count(), 1, "{comment}: {shown}");
        }
    }
    let ends = |text: &str| (text.contains("\r\n"), text.ends_with('\n'));
    assert_eq!(ends(before), ends(after), "{shown}");

    let mut trees = [before, after].map(json::manifest);
    let [was, is] = trees.each_mut().map(|tree| {
        let mut found = BTreeMap::new();
        take_edges(tree, "", &mut found);
        found
    });
    assert_eq!(trees[0], trees[1], "{shown}");
    assert!(was.keys().eq(is.keys()), "{shown}");
    let moved = was.iter().filter(|(edge, key)| is[*edge] != **key);
    moved.inspect(|(_, key)| assert_eq!(**key, "depends-on", "{shown}")).count()
}

#[test]
fn random_cycles_are_repaired_once() {
    let seeds = std::env::var("XTASK_SEEDS").map_or(100, |seeds| seeds.parse().unwrap());
    let (mut written, mut by_hand) = (0, 0);
    for seed in 0..seeds {
        let files = random_workspace(&mut Chance::of(seed));
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in &files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (moved, unwritten) = fix(folder.path(), &files);

        assert_eq!(check(folder.path(), &files).problems, [], "seed {seed}");
        let after = read(folder.path(), &files);
        let changed = files.iter().map(|(file, before)| {
            only_edges_moved(before, &after[file], unwritten.contains(file), seed)
        });
        assert_eq!(changed.sum::<usize>(), moved, "seed {seed}");
        by_hand += unwritten.len();
        written += files.iter().filter(|(file, text)| after[*file] != **text).count();
        written -= unwritten.len();
    }
    assert!(written > 50 && by_hand > 5, "{written} files written, {by_hand} edited by hand");
}
