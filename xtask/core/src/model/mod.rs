//! The services of a workspace: sections merged, names resolved.
//!
//! It chooses the defaults that depend on Cargo and checks the rules between sections, for
//! every service whether wanted or not. Addresses, variables and order belong to the plan.

mod edges;
mod fit;
mod merge;
mod program;

pub(crate) use edges::{no_service, suggest};
pub(crate) use program::clashes;

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::manifest::is_name;
use crate::manifest::keys::Settings;
use crate::manifest::{At, Declarations, Package, TextAt, at};
use crate::problem::{Code, Problem};
use crate::terms::suggest::{list, nearest};
use crate::terms::{Condition, Kind, Name};

/// Every service of a workspace under some overlays.
pub(crate) struct Model {
    /// The services, in order of name.
    pub(crate) nodes: Vec<Node>,
    pub(crate) packages: Vec<Package>,
}

impl Model {
    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| &*node.name == name)
    }
}

/// One service or job.
pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) declared: At<()>,
    /// Its package, if it is declared in one.
    pub(crate) package: Option<usize>,
    /// The folder that relative paths start from, absolute.
    pub(crate) folder: String,
    /// Its keys, overlays applied.
    pub(crate) settings: Settings,
    /// Whether its section sets a program that could not be read.
    pub(crate) mistaken_program: bool,
    pub(crate) program: Runs,
    /// Its `depends-on`, in order of declaration; only services that exist.
    pub(crate) depends_on: Vec<Requirement>,
    pub(crate) uses: Vec<Requirement>,
}

impl Node {
    pub(crate) fn kind(&self) -> Kind {
        at::value(&self.settings.kind).unwrap_or(Kind::Service)
    }

    /// The edges of both kinds.
    pub(crate) fn edges(&self) -> impl Iterator<Item = &Requirement> {
        self.depends_on.iter().chain(&self.uses)
    }
}

/// The program of a node.
pub(crate) enum Runs {
    /// A binary of the node's package, by index.
    Binary(usize),
    Command(Vec<TextAt>),
    Image(TextAt),
    External,
    /// None was found, and a problem reports it.
    Unknown,
}

/// A dependency on, or use of, a service that exists.
pub(crate) struct Requirement {
    /// The dependency, at the place where it is named.
    pub(crate) to: At<Name>,
    /// What the dependent waits for; ignored for `uses`.
    pub(crate) condition: Condition,
    pub(crate) restart: bool,
    /// The keys that lead to the table that declares it; empty for `uses`.
    pub(crate) table: Vec<String>,
}

/// The names of all overlays.
pub(crate) fn overlays(declarations: &Declarations) -> SortedSet<&str> {
    let sections = declarations.sections.iter();
    sections.flat_map(|s| s.overlays.iter().map(|(name, _)| name.value.as_str())).collect()
}

/// Merges the sections under these overlays, and checks them against each other.
pub(crate) fn build(declarations: &Declarations, with: &[String]) -> (Model, Vec<Problem>) {
    let mut problems = Vec::new();
    unknown_overlays(declarations, with, &mut problems);
    let mut nodes = merge::merge(declarations, with, &mut problems);
    let kinds = nodes.iter().map(|node| (node.name.clone(), node.kind()));
    let kinds: SortedMap<Name, Kind> = kinds.collect();
    for node in &mut nodes {
        node.program = program::choose(node, &declarations.packages, &mut problems);
        fit::check(node, &mut problems);
        edges::resolve(node, &kinds, &mut problems);
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let model = Model { nodes, packages: declarations.packages.clone() };
    fit::names(&model, &mut problems);
    edges::defaults(declarations, &kinds, &mut problems);
    (model, problems)
}

/// A problem for each overlay asked for that no service has.
fn unknown_overlays(declarations: &Declarations, with: &[String], problems: &mut Vec<Problem>) {
    let known = overlays(declarations);
    for name in with.iter().filter(|name| !known.contains(name.as_str())) {
        let message = match name.trim() {
            "" => "the name of an overlay is empty".to_string(),
            _ => format!("no service has an overlay `{name}`"),
        };
        let declared = if is_name(name) { name } else { "NAME" };
        let problem = Problem::error(Code::UnknownOverlay, message);
        problems.push(match nearest(name, known.iter().copied()) {
            Some(meant) => problem.hint(format!("did you mean `--with {meant}`?")),
            None if known.is_empty() => problem
                .note("no service declares any overlay")
                .hint(format!("declare one: `[package.metadata.service.with.{declared}]`")),
            None => problem
                .note(format!("overlays are {}", list(known.iter().copied())))
                .hint("name one of them, or leave out `--with`"),
        });
    }
}
