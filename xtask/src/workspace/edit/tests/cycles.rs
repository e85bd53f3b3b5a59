//! Random workspaces with cycles, written in every form, and repaired as `check --fix`
//! repairs them. `XTASK_SEEDS` sets how many are tried.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use toml::{Table, Value};
use xtask_core::manifest::{self, Binary, Package, Workspace};
use xtask_core::plan::{self, Outcome, Request};
use xtask_core::problem::Code;
use xtask_core::terms::chance::Chance;

use crate::workspace::document;
use crate::workspace::edit::{Move, apply};

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
const TABLE_LISTS: [Form; 5] = [Form::Line, Form::Lines, Form::Braces, Form::Table, Form::Dotted];
const OVERLAY_LISTS: [Form; 3] = [Form::Line, Form::Lines, Form::Braces];

/// How edges are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Line,
    Lines,
    Braces,
    Table,
    Dotted,
}

/// The texts of a workspace, and what must stay in each of them.
#[derive(Default)]
struct Written {
    texts: BTreeMap<String, String>,
    /// Lines that say nothing of edges.
    kept: BTreeMap<String, Vec<String>>,
}

/// Writes one file.
struct Writer<'a> {
    chance: &'a mut Chance,
    comments: &'a mut usize,
    text: String,
    kept: Vec<String>,
}

impl Writer<'_> {
    fn one_in(&mut self, of: usize) -> bool {
        self.chance.below(of) == 0
    }

    /// A comment that stands nowhere else, with signs that mean something elsewhere.
    fn comment(&mut self) -> String {
        *self.comments += 1;
        let tail =
            self.chance.pick(&["", " # more", " = [\"a\"]", " [x]", " {\"}", " é,"]).unwrap();
        format!("#{}#{tail}", self.comments)
    }

    /// Space, and perhaps a comment, before the end of the line.
    fn end(&mut self) -> String {
        if self.one_in(2) {
            return String::new();
        }
        let space = *self.chance.pick(&[" ", "  ", "\t"]).unwrap();
        space.to_owned() + &self.comment()
    }

    /// Lines that no edit may touch.
    fn unrelated(&mut self) {
        for _ in 0..self.chance.below(3) {
            *self.comments += 1;
            let number = *self.comments;
            let line = match self.chance.below(4) {
                0 => format!("env.E{number}  =  'depends-on = [\"a\"]'"),
                1 => format!("env.E{number} = \"\"\"\nuses = [ # no comment\n\"\"\""),
                2 => format!("  env.E{number}=\"#\"\t"),
                _ => format!("env.E{number} = \"x\"{}", self.end()),
            };
            self.keep(&line);
        }
    }

    fn keep(&mut self, lines: &str) {
        self.text.extend([lines, "\n"]);
        self.kept.extend(lines.split('\n').map(str::to_owned));
    }

    /// Comments and blank lines above a key.
    fn above(&mut self) {
        for _ in 0..self.chance.below(3) {
            let comment = self.comment();
            self.text.extend([comment.as_str(), "\n"]);
        }
    }

    /// A list on one line, or on several with comments between them.
    fn list(&mut self, names: &[&str], form: Form) -> String {
        let quote = if self.one_in(4) { '\'' } else { '"' };
        let names: Vec<String> = names.iter().map(|name| format!("{quote}{name}{quote}")).collect();
        let last = if self.one_in(2) { "," } else { "" };
        if form == Form::Line {
            let space = if self.one_in(3) { " " } else { "" };
            return format!("[{space}{}{space}]", names.join(", "));
        }
        let mut text = format!("[{}\n", self.end());
        for (index, name) in names.iter().enumerate() {
            if self.one_in(3) {
                let comment = self.comment();
                writeln!(text, "    {comment}").unwrap();
            }
            let comma = if index + 1 < names.len() { "," } else { last };
            writeln!(text, "    {name}{comma}{}", self.end()).unwrap();
        }
        if self.one_in(4) {
            let comment = self.comment();
            writeln!(text, "    {comment}").unwrap();
        }
        text + "]"
    }

    fn condition(&mut self) -> &'static str {
        const ONES: [&str; 3] =
            ["\"started\"", "\"ready\"", "{ condition = \"ready\", restart = true }"];
        self.chance.pick(&ONES).unwrap()
    }

    /// The key `depends-on`, or none if that is a table of its own.
    fn depends_on(&mut self, names: &[&str], form: Form) {
        if names.is_empty() && form != Form::Line || form == Form::Table {
            return;
        }
        self.above();
        match form {
            Form::Line | Form::Lines => {
                let list = self.list(names, form);
                let end = self.end();
                writeln!(self.text, "depends-on = {list}{end}").unwrap();
            }
            Form::Braces => {
                let pairs: Vec<String> =
                    names.iter().map(|name| format!("{name} = {}", self.condition())).collect();
                let end = self.end();
                writeln!(self.text, "depends-on = {{ {} }}{end}", pairs.join(", ")).unwrap();
            }
            Form::Dotted => self.pairs("depends-on.", names),
            Form::Table => {}
        }
    }

    fn pairs(&mut self, prefix: &str, names: &[&str]) {
        for name in names {
            self.above();
            let (condition, end) = (self.condition(), self.end());
            writeln!(self.text, "{prefix}{name} = {condition}{end}").unwrap();
        }
    }

    fn uses(&mut self, names: &[&str]) {
        self.above();
        let form = *self.chance.pick(&[Form::Line, Form::Lines]).unwrap();
        let form = if names.is_empty() { Form::Line } else { form };
        let list = self.list(names, form);
        let end = self.end();
        writeln!(self.text, "uses = {list}{end}").unwrap();
    }

    /// Some of the other services.
    fn others(&mut self, service: &str, all: &[&'static str], one_in: usize) -> Vec<&'static str> {
        let mut some = all.to_vec();
        some.retain(|name| *name != service && self.one_in(one_in));
        some
    }

    /// Those that it waits for, and others that it only uses: nobody is both in one table.
    fn both(&mut self, service: &str, all: &[&'static str]) -> [Vec<&'static str>; 2] {
        let waits = self.others(service, all, 2);
        let mut uses = self.others(service, all, 3);
        uses.retain(|name| !waits.contains(name));
        [waits, uses]
    }

    /// The keys of a service in a table of its own, and its overlay.
    fn table(&mut self, path: &str, first: &str, service: &str, all: &[&'static str]) {
        self.above();
        self.keep(&format!("[{path}]"));
        self.keep(first);
        self.unrelated();
        let [waits, uses] = self.both(service, all);
        let form = *self.chance.pick(&TABLE_LISTS).unwrap();
        let uses_first = self.one_in(2);
        let has_uses = self.one_in(2);
        if has_uses && uses_first {
            self.uses(&uses);
            self.unrelated();
        }
        self.depends_on(&waits, form);
        self.unrelated();
        if has_uses && !uses_first {
            self.uses(&uses);
            self.unrelated();
        }
        if form == Form::Table && !waits.is_empty() {
            self.text.push('\n');
            self.above();
            writeln!(self.text, "[{path}.depends-on]").unwrap();
            self.pairs("", &waits);
        }
        if self.one_in(3) {
            self.text.push('\n');
            self.keep(&format!("[{path}.with.fast]"));
            self.unrelated();
            let waits = self.others(service, all, 3);
            let form = *self.chance.pick(&OVERLAY_LISTS).unwrap();
            self.depends_on(&waits, form);
        }
        self.text.push('\n');
    }

    /// Says what was written; the ends of lines are those of one system or of another.
    fn done(mut self, file: &str, into: &mut Written) {
        if self.one_in(4) {
            self.text = self.text.replace('\n', "\r\n");
            self.kept.iter_mut().for_each(|line| line.push('\r'));
        }
        into.texts.insert(file.to_owned(), self.text);
        into.kept.insert(file.to_owned(), self.kept);
    }
}

/// Services in packages, in tables of the root, in braces there, and tables of the root
/// that lie on top of a package's.
fn written(chance: &mut Chance) -> Written {
    let mut out = Written::default();
    let mut comments = 0;
    let all = &NAMES[..2 + chance.below(NAMES.len() - 1)];
    let (packages, others) = all.split_at(chance.below(all.len() + 1));
    for name in packages {
        let mut file =
            Writer { chance, comments: &mut comments, text: String::new(), kept: vec![] };
        file.keep(&format!("[package]\nname = \"{name}\"\n"));
        file.table("package.metadata.service", "port = 0", name, all);
        file.keep("[dependencies]\ndepends-on = \"1\"   # a crate");
        file.done(&format!("{name}/Cargo.toml"), &mut out);
    }
    let mut root = Writer { chance, comments: &mut comments, text: String::new(), kept: vec![] };
    root.keep("[workspace]\nmembers = [ \"*\" ]\n");
    let (braces, tables) = others.split_at(root.chance.below(others.len() + 1));
    if !braces.is_empty() {
        root.keep("[workspace.metadata.services]");
    }
    for name in braces {
        let [waits, uses] = root.both(name, all);
        let (waits, uses) = (root.list(&waits, Form::Line), root.list(&uses, Form::Line));
        let mut keys = vec![format!("depends-on = {waits}"), "command = [\"x\"]".to_owned()];
        if root.one_in(2) {
            keys.push(format!("uses = {uses}"));
        }
        let turned = root.chance.below(keys.len());
        keys.rotate_left(turned);
        let end = root.end();
        writeln!(root.text, "{name} = {{ {} }}{end}", keys.join(", ")).unwrap();
    }
    let path = |name: &str| format!("workspace.metadata.services.{name}");
    for name in tables {
        root.table(&path(name), "command = [\"x\"]", name, all);
    }
    for name in packages {
        if root.one_in(4) {
            root.table(&path(name), "adopt = \"never\"", name, all);
        }
    }
    root.done("Cargo.toml", &mut out);
    out
}

fn read(root: &Path, files: &Written) -> BTreeMap<String, String> {
    let read = |file: &String| (file.clone(), fs::read_to_string(root.join(file)).unwrap());
    files.texts.keys().map(read).collect()
}

/// What `check` finds.
fn look(root: &Path, files: &Written) -> Outcome {
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
    let outcome = plan::check(&declarations, &request, &|_| Err("no such file".into()));
    let others = outcome.problems.iter().filter(|problem| problem.code != Code::Cycle);
    assert_eq!(others.count(), 0, "{:#?}", outcome.problems);
    outcome
}

/// Repairs until there is nothing to repair, as `check --fix` does, and counts the edges.
fn fix(root: &Path, files: &Written) -> usize {
    let mut moved = 0;
    loop {
        let moves: Vec<Move> = look(root, files).repairs.iter().map(Move::from).collect();
        if moves.is_empty() {
            return moved;
        }
        moved += apply(root, &moves).unwrap().len();
    }
}

/// Takes the edges out of a tree: pairs of `depends-on` or `uses` with what leads there.
fn edges(tree: &mut Table, path: &str, found: &mut Vec<(String, String)>) {
    for key in ["depends-on", "uses"] {
        if path.contains("metadata")
            && let Some(edges) = tree.remove(key)
        {
            let names = match edges {
                Value::Array(names) => {
                    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
                }
                Value::Table(pairs) => pairs.into_iter().map(|(name, _)| name).collect(),
                other => vec![other.to_string()],
            };
            found.extend(names.into_iter().map(|name| (format!("{path} {name}"), key.to_owned())));
        }
    }
    for (key, value) in tree {
        if let Value::Table(inner) = value {
            edges(inner, &format!("{path}.{key}"), found);
        }
    }
}

/// The file is as it was but for names that went from `depends-on` to `uses`.
fn only_edges_moved(before: &str, after: &str, kept: &[String], seed: u64) -> usize {
    let said = format!("seed {seed}\n--- before\n{before}--- after\n{after}");
    let mut lines = after.split('\n');
    for line in kept {
        assert!(lines.any(|after| after == line), "no `{line}` in its place: {said}");
    }
    for comment in before.split('#').filter(|part| part.parse::<usize>().is_ok()) {
        let comment = format!("#{comment}#");
        assert_eq!(after.matches(&comment).count(), 1, "{comment}: {said}");
        // Everything behind it on its line is still behind it.
        let tail = |text: &str| {
            let line = text.lines().find(|line| line.contains(&comment)).unwrap();
            line[line.find(&comment).unwrap()..].trim_end().to_owned()
        };
        assert_eq!(tail(before), tail(after), "{said}");
    }
    let ends = |text: &str| (text.matches("\r\n").count() > 0, text.ends_with('\n'));
    assert_eq!(ends(before), ends(after), "{said}");

    let mut trees = [before, after].map(|text| text.parse::<Table>().unwrap());
    let [was, is] = trees.each_mut().map(|tree| {
        let mut found = Vec::new();
        edges(tree, "", &mut found);
        found.sort();
        found
    });
    assert_eq!(trees[0], trees[1], "{said}");
    let moved: Vec<&(String, String)> = was.iter().filter(|edge| !is.contains(edge)).collect();
    let mut wanted = was.clone();
    wanted.retain(|edge| !moved.contains(&edge));
    wanted.extend(moved.iter().map(|(edge, _)| (edge.clone(), "uses".to_owned())));
    wanted.sort();
    wanted.dedup();
    assert!(moved.iter().all(|(_, key)| key == "depends-on"), "{moved:?}: {said}");
    assert_eq!(is, wanted, "{said}");
    moved.len()
}

#[test]
fn random_cycles_are_repaired_once_and_for_all_and_nothing_else_changes() {
    let seeds = std::env::var("XTASK_SEEDS").map_or(100, |seeds| seeds.parse().unwrap());
    let mut moved = 0;
    for seed in 0..seeds {
        let files = written(&mut Chance::of(seed));
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in &files.texts {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        let said = fix(folder.path(), &files);

        assert_eq!(look(folder.path(), &files).problems, [], "seed {seed}");
        let after = read(folder.path(), &files);
        let here: usize = files
            .texts
            .iter()
            .map(|(file, before)| only_edges_moved(before, &after[file], &files.kept[file], seed))
            .sum();
        assert_eq!(here, said, "seed {seed}");
        assert_eq!(fix(folder.path(), &files), 0, "seed {seed}");
        moved += here;
    }
    assert!(moved > seeds as usize, "only {moved} edges were moved, so that little was tried");
}
