//! Everything that the manifests of a workspace declare.
//!
//! It finds the sections and reads them. It does not merge them.

use crate::sorted::SortedMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use super::reader::Reader;
use super::section::{self, Section};
use super::spelling::place_of;
use super::value::{Table, Value};
use super::{At, TextAt};
use super::{Manifest, Package, Workspace, shape};
use crate::problem::{Code, Problem, Span};

/// What a workspace declares, with the place of everything.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    /// The absolute path of the workspace root.
    pub(crate) root: String,
    /// The text of each manifest, by its path in a place.
    texts: SortedMap<String, String>,
    pub(crate) packages: Vec<Package>,
    /// Every section that declares a service, in order of the manifests.
    pub(crate) sections: Vec<Section>,
    /// The services that a plain `up` starts.
    pub(crate) default: Option<Vec<TextAt>>,
    /// The variables for every service.
    pub(crate) env: Vec<(TextAt, TextAt)>,
    /// Whether a plain `up` of the default stack watches the sources.
    pub(crate) watch: Option<At<bool>>,
    /// The image that images of built programs are based on, if any.
    pub(crate) base_image: Option<TextAt>,
}

impl Declarations {
    /// The place of some bytes of a text; the place of the whole text if its spelling is unknown.
    pub(crate) fn inside(&self, words: &TextAt, bytes: &Range<usize>) -> Span {
        let Span { file, bytes: whole } = &words.span;
        let raw = self.texts.get(file).and_then(|text| text.get(whole.clone()));
        let part = raw.and_then(|raw| place_of(raw, &words.value, bytes));
        let part = part.map(|part| whole.start + part.start..whole.start + part.end);
        Span { file: file.clone(), bytes: part.unwrap_or_else(|| whole.clone()) }
    }
}

/// Reads the metadata of a workspace.
#[must_use]
pub fn read(workspace: &Workspace) -> (Declarations, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut out = Declarations { root: workspace.root.clone(), ..Declarations::default() };
    let text = |manifest: &Manifest| (manifest.file.clone(), manifest.text.clone());
    out.texts = workspace.manifests.iter().map(text).collect();
    out.packages = workspace.manifests.iter().filter_map(|m| m.package.clone()).collect();
    let mut count = 0;
    for (index, manifest) in workspace.manifests.iter().enumerate() {
        let mut reader =
            Reader { manifest, line_ends: manifest.line_ends(), problems: &mut problems };
        let metadata = |table| manifest.root.table(table).and_then(|t| t.table("metadata"));
        if let Some(package) = &manifest.package {
            if let Some(metadata) = metadata("package") {
                package_sections(&mut reader, metadata, count, package, &mut out.sections);
            }
            count += 1;
        }
        if index == 0
            && let Some(metadata) = metadata("workspace")
        {
            if let Some(value) = metadata.get("services") {
                services(&mut reader, value, None, &mut out.sections);
            }
            misplaced(&mut reader, metadata);
            workspace_keys(&mut reader, metadata, &mut out);
        }
    }
    (out, problems)
}

/// `[package.metadata.service]` and `[package.metadata.services.NAME]`.
fn package_sections(
    reader: &mut Reader<'_>,
    metadata: &Table,
    index: usize,
    package: &Package,
    out: &mut Vec<Section>,
) {
    if let Some((key, value)) = metadata.entry("service")
        && let Some(table) = reader.table("service", value)
    {
        let name = match table.get("name").and_then(|value| reader.string("name", value)) {
            Some(name) => name,
            None => reader.at(&key.bytes, package.name.clone()),
        };
        let path = ["package", "metadata", "service"];
        let what = "`[package.metadata.service]`";
        out.push(one(reader, table, name, Some(index), &path, what, &["name", "with"]));
    }
    if let Some(value) = metadata.get("services") {
        services(reader, value, Some(index), out);
    }
}

/// `services.NAME` of a package or the workspace.
fn services(
    reader: &mut Reader<'_>,
    value: &Value,
    package: Option<usize>,
    out: &mut Vec<Section>,
) {
    let Some(table) = reader.table("services", value) else { return };
    for (key, value) in &table.entries {
        let name = reader.key(key);
        let Some(table) = reader.table(&key.name, value) else { continue };
        let what = format!("service `{}`", key.name);
        let top = if package.is_some() { "package" } else { "workspace" };
        let path = [top, "metadata", "services", &key.name];
        out.push(one(reader, table, name, package, &path, &what, &["with"]));
    }
}

/// One section with its overlays. A bad name is reported, and the section is read all the same.
fn one(
    reader: &mut Reader<'_>,
    table: &Table,
    name: TextAt,
    package: Option<usize>,
    path: &[&str],
    what: &str,
    more: &[&str],
) -> Section {
    let settings = section::settings(reader, table, path, what, more);
    let mut overlays = Vec::new();
    let with = table.get("with").and_then(|value| reader.table("with", value));
    for (key, value) in with.into_iter().flat_map(|with| &with.entries) {
        let Some(table) = reader.table(&key.name, value) else { continue };
        let path: Vec<&str> = path.iter().copied().chain(["with", &key.name]).collect();
        let what = format!("overlay `{}`", key.name);
        let settings = section::settings(reader, table, &path, &what, &[]);
        let overlay = reader.key(key);
        reader.name("an overlay", &overlay);
        overlays.push((overlay, settings));
    }
    reader.name("a service", &name);
    let program = |key: &str, read: bool| table.get(key).is_some() && !read;
    let mistaken_program = program("command", settings.command.is_some())
        || program("image", settings.image.is_some())
        || program("external", settings.external.is_some());
    let folder = reader.manifest.folder.clone();
    Section { name, package, folder, settings, mistaken_program, overlays }
}

/// Reports `[workspace.metadata.service]`, which looks valid and has no effect.
fn misplaced(reader: &mut Reader<'_>, metadata: &Table) {
    if let Some((key, _)) = metadata.entry("service") {
        let message = "`[workspace.metadata.service]` has no effect".to_string();
        let hint = "write `[workspace.metadata.services.NAME]`";
        reader.report::<()>(Code::UnknownKey, &key.bytes, message, hint);
    }
}

/// `[workspace.metadata.xtask]`.
fn workspace_keys(reader: &mut Reader<'_>, metadata: &Table, out: &mut Declarations) {
    let Some(value) = metadata.get("xtask") else { return };
    let Some(table) = reader.table("xtask", value) else { return };
    let what = "`[workspace.metadata.xtask]`";
    let known = ["default", "env", "e2e", "base-image", "template", "watch"];
    reader.known_keys(table, &known, what);
    for (key, value) in &table.entries {
        match key.name.as_str() {
            "default" => {
                out.default = shape::nonempty(reader, "default", value, "NAME").map(|at| at.value);
            }
            "env" => out.env = shape::env(reader, "env", value),
            "base-image" => out.base_image = super::shape::image(reader, "base-image", value),
            "watch" => out.watch = reader.boolean("watch", value),
            "e2e" => check_e2e(reader, value, &out.packages),
            // The command `new` reads it.
            "template" => drop(reader.string("template", value)),
            _ => {}
        }
    }
}

/// Reports an `e2e` package that is not a member. `test-e2e` itself looks the package up.
fn check_e2e(reader: &mut Reader<'_>, value: &Value, packages: &[Package]) {
    let Some(name) = reader.string("e2e", value) else { return };
    if packages.iter().any(|package| package.name == name.value) {
        return;
    }
    let names = packages.iter().map(|package| package.name.as_str());
    let hint = match crate::terms::suggest::nearest(&name.value, names) {
        Some(meant) => format!("did you mean `\"{meant}\"`?"),
        None => "name a member of the workspace, or remove `e2e`".to_string(),
    };
    let message = format!("no member of the workspace is called `{}`", name.value);
    reader.bad_value::<()>(&value.bytes, message, &hint);
}
