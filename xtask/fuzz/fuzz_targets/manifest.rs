//! A manifest of any text: it is read, checked and planned without a panic, every place
//! that a problem names lies in the text, and a plan is stepped by the reducer.
//!
//! Cargo is not asked; the package is said to have one binary.

#![no_main]

#[path = "../../src/effects/document.rs"]
mod document;

use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use xtask_core::manifest::{self, Binary, Package, Workspace};
use xtask_core::plan::{self, Request};
use xtask_core::stack::{Event, Report, Effect, Stack};

fuzz_target!(|text: &str| {
    let root = Path::new("/repo");
    let (mut read, mut problems) = document::manifest(root, &root.join("Cargo.toml"), text.into());
    read.package = Some(Package {
        id: "path+file:///repo#api@0.1.0".into(),
        spec: "api".into(),
        name: "api".into(),
        default_run: None,
        binaries: vec![Binary { name: "api".into(), required_features: Vec::new() }],
        features: vec!["extra".into()],
    });
    let workspace = Workspace { root: "/repo".into(), manifests: vec![read] };
    let (declarations, found) = manifest::read(&workspace);
    problems.extend(found);
    let file = |_: &str| Err("no such file".to_string());
    let request = Request { stack: "dev".into(), data: "/data".into(), ..Request::default() };
    problems.extend(plan::check(&declarations, &request, &file).problems);
    let outcome = plan::make(&declarations, &request, &file);
    problems.extend(outcome.problems);
    for problem in plan::tidy(problems) {
        for label in &problem.labels {
            let bytes = label.span.bytes.clone();
            assert!(text.get(bytes.clone()).is_some(), "{bytes:?} of {} in {problem:?}", text.len());
        }
    }
    let Some(plan) = outcome.plan else { return };
    let mut effects = Vec::new();
    Stack::new().step(Duration::ZERO, Event::Apply { plan }, &mut effects);
    for effect in effects {
        let unexpected = matches!(effect, Effect::Report(Report::Unexpected { .. }));
        assert!(!unexpected, "the planner made what the reducer refuses: {effect:?}");
    }
});
