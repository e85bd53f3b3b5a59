//! The files of a template, with its words, sections and file names filled in.
//!
//! Words of the package: `{{name}}`, `{{NAME}}` as in variables, `{{crate}}` as in Rust,
//! `{{port}}`, `{{depends-on}}`, a TOML list, and `{{addresses}}`, a sentence about the variables
//! of upstreams. An upstream is a dependency that answers HTTP.
//!
//! - Lines from `{{#dependencies}}` to `{{/dependencies}}` are there once for each dependency,
//!   which `{{dependency}}` names, unless the file has them already.
//! - Lines from `{{#upstreams}}` to `{{/upstreams}}` are there once for each upstream:
//!   `{{upstream}}`, `{{UPSTREAM}}` as in variables, `{{Upstream}}` as a type,
//!   `{{upstream_crate}}` as in Rust. They are there once in all if they do not name it.
//! - A file with `{{upstream_crate}}` in its path is made for each upstream.
//! - `FILE.template` becomes `FILE`, for endings that would disturb tools.
//! - The lines of `FILE.lines` are added to the existing `FILE`, each sorted among the lines that
//!   begin with the same word.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use xtask_core::terms::variable_prefix;

use super::{Dependency, Error, Wanted, read};

/// The word in a path that makes a file for each upstream.
const EACH: &str = "{{upstream_crate}}";

/// What is laid over a workspace, by paths from its root.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// The new files.
    pub(super) files: BTreeMap<PathBuf, String>,
    /// The lines that are added to existing files.
    pub(super) lines: BTreeMap<PathBuf, String>,
}

/// Reads the files below `folder`, which is named from the root.
pub(super) fn read_folder(root: &Path, folder: &Path, wanted: &Wanted) -> Result<Layer, Error> {
    let kind = if wanted.is_job { "job" } else { "service" };
    let top = root.join(folder).join(kind);
    let mut layer = Layer::default();
    let mut folders = vec![top.clone()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = read(&path)?;
            let path = path.strip_prefix(&top).unwrap_or(&path).to_string_lossy().into_owned();
            if path.contains(EACH) {
                for upstream in wanted.upstreams() {
                    let of_upstream = |text: &str| filled(&of_dependency(text, upstream), wanted);
                    layer.add(of_upstream(&path), of_upstream(&text))?;
                }
            } else {
                layer.add(filled(&path, wanted), filled(&text, wanted))?;
            }
        }
    }
    // A module is a file or a folder.
    let folders = layer.files.keys().filter(|path| path.ends_with("mod.rs"));
    let files = folders.filter_map(|path| Some(path.parent()?.with_extension("rs")));
    if let Some(path) = files.into_iter().find(|path| layer.files.contains_key(path)) {
        return Err(Error::Twice { path });
    }
    if layer.files.is_empty() {
        return Err(Error::EmptyTemplate { folder: folder.to_path_buf(), kind });
    }
    Ok(layer)
}

impl Layer {
    fn add(&mut self, path: String, text: String) -> Result<(), Error> {
        let path = path.strip_suffix(".template").unwrap_or(&path);
        let (files, path) = match path.strip_suffix(".lines") {
            Some(path) => (&mut self.lines, path),
            None => (&mut self.files, path),
        };
        match files.insert(PathBuf::from(path), text) {
            None => Ok(()),
            Some(_) => Err(Error::Twice { path: PathBuf::from(path) }),
        }
    }
}

/// The text with all sections and words filled in.
pub(super) fn filled(text: &str, wanted: &Wanted) -> String {
    let mut filled = String::new();
    let mut section: Option<String> = None;
    for line in text.split_inclusive('\n') {
        match line.trim() {
            "{{#dependencies}}" | "{{#upstreams}}" => section = Some(String::new()),
            "{{/dependencies}}" => {
                let block = section.take().unwrap_or_default();
                for dependency in &wanted.depends_on {
                    let block = of_dependency(&block, dependency);
                    if !filled.contains(&block) {
                        filled.push_str(&block);
                    }
                }
            }
            "{{/upstreams}}" => {
                let block = section.take().unwrap_or_default();
                let mut blocks: Vec<_> =
                    wanted.upstreams().map(|upstream| of_dependency(&block, upstream)).collect();
                // A block that does not name the dependency is there once.
                blocks.dedup();
                filled.extend(blocks);
            }
            _ => section.as_mut().unwrap_or(&mut filled).push_str(line),
        }
    }
    let quoted: Vec<_> =
        wanted.depends_on.iter().map(|other| format!("{:?}", other.name)).collect();
    let urls: Vec<_> =
        wanted.upstreams().map(|upstream| format!("`{}_URL`", upper(&upstream.name))).collect();
    let addresses = match urls.is_empty() {
        true => String::new(),
        false => format!(" The tool sets {}.", urls.join(" and ")),
    };
    filled
        .replace("{{name}}", &wanted.name)
        .replace("{{NAME}}", &upper(&wanted.name))
        .replace("{{crate}}", &snake(&wanted.name))
        .replace("{{port}}", &wanted.port.to_string())
        .replace("{{depends-on}}", &format!("[{}]", quoted.join(", ")))
        .replace("{{addresses}}", &addresses)
}

/// The text with the words of one dependency filled in.
fn of_dependency(text: &str, dependency: &Dependency) -> String {
    let name = &dependency.name;
    text.replace("{{dependency}}", name)
        .replace("{{upstream}}", name)
        .replace("{{UPSTREAM}}", &upper(name))
        .replace("{{Upstream}}", &pascal(name))
        .replace(EACH, &snake(name))
}

/// As variables of the environment are written.
fn upper(name: &str) -> String {
    variable_prefix(name)
}

/// As modules are written.
pub(super) fn snake(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// As types are written.
fn pascal(name: &str) -> String {
    let mut pascal = String::new();
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        pascal.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        pascal.extend(letters);
    }
    pascal
}

/// The text with lines added to it, each sorted among the lines that begin with the same word. A
/// line that the text has is not added.
pub(super) fn with_lines(text: &str, lines: &str) -> String {
    let mut all: Vec<&str> = text.lines().collect();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        if all.contains(&line) {
            continue;
        }
        let word = line.split_inclusive(' ').next().unwrap_or(line);
        let key = |line: &str| line.trim_end_matches(';').to_owned();
        let similar = |other: &&str| other.starts_with(word);
        let later = all.iter().position(|other| similar(other) && key(other) > key(line));
        let last = all.iter().rposition(similar);
        let mut place = later.or(last.map(|last| last + 1)).unwrap_or(all.len());
        // Attributes and comments belong to the line below them.
        while later.is_some()
            && place > 0
            && ["#[", "//"].iter().any(|start| all[place - 1].starts_with(start))
        {
            place -= 1;
        }
        all.insert(place, line);
    }
    all.join("\n") + "\n"
}
