//! Manifests of any text: the tool reads, checks and plans them without a panic, every place
//! of a problem is inside its file, and the reducer accepts a plan.
//!
//! Cargo is not called; every package has one binary.

#[allow(unreachable_pub, reason = "the tool exports it")]
#[path = "../../daily/src/workspace/document.rs"]
mod document;

use std::path::Path;
use std::time::Duration;

use xtask_core::manifest::{self, Binary, Manifest, Package, ValueKind, Workspace};
use xtask_core::plan::{self, Request};
use xtask_core::stack::{Effect, Event, Report, Stack};

/// Checks the property for a workspace of these manifests, the root's first. Returns whether
/// there was a plan.
pub(crate) fn holds(texts: &[&str]) -> bool {
    let root = Path::new("/repo");
    let mut problems = Vec::new();
    let mut manifests = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let folder = if index == 0 { root.to_owned() } else { root.join(format!("m{index}")) };
        let (mut read, found) =
            document::manifest(root, &folder.join("Cargo.toml"), (*text).to_owned());
        read.package = Some(package(&read));
        problems.extend(found);
        manifests.push(read);
    }
    let workspace = Workspace { root: "/repo".into(), manifests };
    let (declarations, found) = manifest::read(&workspace);
    problems.extend(found);
    let file = |_: &str| Err(plan::Unreadable::Missing);
    let request = Request { stack: "dev".into(), data: "/data".into(), ..Request::default() };
    problems.extend(plan::check(&declarations, &request, &file, &|_, _| None).problems);
    let outcome = plan::make(&declarations, &request, &file);
    problems.extend(outcome.problems);
    for problem in plan::tidy(problems) {
        for label in &problem.labels {
            let of = workspace.manifests.iter().find(|manifest| manifest.file == label.span.file);
            let text = &of.unwrap_or_else(|| panic!("no such file: {problem:?}")).text;
            let bytes = label.span.bytes.clone();
            assert!(text.get(bytes.clone()).is_some(), "{bytes:?} of {}: {problem:?}", text.len());
        }
    }
    let Some(plan) = outcome.plan else { return false };
    let mut effects = Vec::new();
    Stack::new().step(Duration::ZERO, Event::Apply { plan }, &mut effects);
    for effect in effects {
        let unexpected = matches!(effect, Effect::Report(Report::Unexpected { .. }));
        assert!(!unexpected, "the planner made what the reducer refuses: {effect:?}");
    }
    true
}

/// A package with the manifest's name, or with a default one.
fn package(manifest: &Manifest) -> Package {
    let package = manifest.root.entries.iter().find(|(key, _)| key.name == "package");
    let name = package.and_then(|(_, package)| match &package.kind {
        ValueKind::Table(table) => table.entries.iter().find(|(key, _)| key.name == "name"),
        _ => None,
    });
    let name = match name.map(|(_, name)| &name.kind) {
        Some(ValueKind::String(name)) => name.as_str(),
        _ => "api",
    };
    Package {
        id: format!("path+file://{}#{name}@0.1.0", manifest.folder),
        spec: name.into(),
        name: name.into(),
        default_run: None,
        binaries: vec![Binary { name: name.into(), required_features: Vec::new() }],
        features: vec!["extra".into()],
    }
}
