//! The one cargo call that makes every program of the plan.
//!
//! It names every binary, so cargo builds nothing else of the workspace.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::request::{Building, Request};
use super::{Build, Target};
use crate::manifest::at::is_true;
use crate::model::{Model, Node, Runs};
use crate::terms::Name;

/// The call, unless there is nothing to build.
pub(crate) fn build(model: &Model, closure: &BTreeSet<Name>, request: &Request) -> Option<Build> {
    if request.building == Building::Skip {
        return None;
    }
    let mut binaries: BTreeMap<(&str, &str), (usize, usize, Vec<&Node>)> = BTreeMap::new();
    for node in model.nodes.iter().filter(|node| closure.contains(&node.name)) {
        if let (Some(index), Runs::Binary(binary)) = (node.package, &node.program) {
            let package = &model.packages[index];
            let key = (package.name.as_str(), package.binaries[*binary].name.as_str());
            binaries.entry(key).or_insert((index, *binary, Vec::new())).2.push(node);
        }
    }
    if binaries.is_empty() {
        return None;
    }
    let targets = binaries
        .iter()
        .map(|((package, binary), (index, _, nodes))| Target {
            package_id: model.packages[*index].id.clone(),
            package: (*package).to_string(),
            binary: (*binary).to_string(),
            services: nodes.iter().map(|node| node.name.clone()).collect(),
        })
        .collect();
    let packages = binaries.values().map(|(index, ..)| &model.packages[*index]);
    let specs: BTreeSet<&str> = packages.map(|package| package.spec.as_str()).collect();
    let names: BTreeSet<&str> = binaries.keys().map(|(_, binary)| *binary).collect();
    let specs = specs.into_iter().map(|spec| ["-p", spec]);
    let flags = specs.chain(names.into_iter().map(|name| ["--bin", name]));
    let mut args: Vec<String> = flags.flatten().map(String::from).collect();
    args.extend(features(model, binaries.values()));
    args.extend(request.cargo_args.iter().cloned());
    Some(Build { args, targets })
}

/// The flags for features. `--no-default-features` holds for the whole call, so the other
/// packages ask for their `default` by name.
fn features<'a>(
    model: &Model,
    binaries: impl Iterator<Item = &'a (usize, usize, Vec<&'a Node>)>,
) -> Vec<String> {
    let mut selected: BTreeSet<String> = BTreeSet::new();
    let mut bare: BTreeMap<usize, bool> = BTreeMap::new();
    for (index, binary, nodes) in binaries {
        let package = &model.packages[*index];
        let required = &package.binaries[*binary].required_features;
        // `dependency/feature` cannot be asked for from outside the package.
        let required = required.iter().filter(|feature| !feature.contains('/'));
        selected.extend(required.map(|feature| format!("{}/{feature}", package.name)));
        for node in nodes {
            let features = node.settings.features.iter().flat_map(|features| &features.value);
            selected.extend(features.map(|feature| format!("{}/{}", package.name, feature.value)));
            let without = is_true(&node.settings.no_default_features);
            bare.insert(*index, without);
        }
    }
    let mut out = Vec::new();
    if bare.values().any(|bare| *bare) {
        out.push("--no-default-features".to_string());
        for index in bare.iter().filter(|(_, bare)| !**bare).map(|(index, _)| *index) {
            let package = &model.packages[index];
            if package.features.iter().any(|feature| feature == "default") {
                selected.insert(format!("{}/default", package.name));
            }
        }
    }
    if !selected.is_empty() {
        let selected: Vec<String> = selected.into_iter().collect();
        out.extend(["--features".to_string(), selected.join(",")]);
    }
    out
}
