//! The one cargo call that makes every program of the plan.
//!
//! It names every binary, so cargo builds nothing else of the workspace.

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::request::{Building, Request};
use super::{Build, Target};
use crate::manifest::at::is_true;
use crate::model::{Model, Node, Runs};
use crate::terms::Name;

/// The call, unless there is nothing to build.
///
/// It also selects the packages of services that run or are wanted by default, without their
/// binaries. So cargo unifies the same features in each call, and a named `up` links the same
/// programs as a plain one.
pub(crate) fn build(
    model: &Model,
    closure: &SortedSet<Name>,
    default: &SortedSet<Name>,
    request: &Request,
) -> Option<Build> {
    if request.building == Building::Skip {
        return None;
    }
    let mut binaries: SortedMap<(&str, &str), Selected<'_>> = SortedMap::new();
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
    let names: SortedSet<&str> = binaries.keys().map(|(_, binary)| *binary).collect();
    let neighbours = neighbours(model, &binaries, &names, |node| {
        default.contains(&node.name) || request.running.contains(&node.name)
    });
    let selected: Vec<&Selected<'_>> = binaries.values().chain(&neighbours).collect();
    let packages = selected.iter().map(|(index, ..)| &model.packages[*index]);
    let specs: SortedSet<&str> = packages.map(|package| package.spec.as_str()).collect();
    let specs = specs.into_iter().map(|spec| ["-p", spec]);
    let flags = specs.chain(names.into_iter().map(|name| ["--bin", name]));
    let mut args: Vec<String> = flags.flatten().map(String::from).collect();
    args.extend(features(model, selected.into_iter()));
    args.extend(request.cargo_args.iter().cloned());
    Some(Build { args, targets })
}

/// A binary of a package, by index, and the services that run it.
type Selected<'a> = (usize, usize, Vec<&'a Node>);

/// The binaries of other services that cargo only selects, first service first. A package that
/// shares a binary's name with the call would be built, and one with other features for a wanted
/// service cannot have both.
fn neighbours<'a>(
    model: &'a Model,
    binaries: &SortedMap<(&str, &str), Selected<'a>>,
    names: &SortedSet<&str>,
    is_neighbour: impl Fn(&Node) -> bool,
) -> Vec<Selected<'a>> {
    let mut packages: SortedSet<usize> = binaries.values().map(|(index, ..)| *index).collect();
    let mut out = Vec::new();
    for node in model.nodes.iter().filter(|node| is_neighbour(node)) {
        if let (Some(index), Runs::Binary(binary)) = (node.package, &node.program) {
            let own = &model.packages[index].binaries;
            let built = own.iter().any(|binary| names.contains(binary.name.as_str()));
            if !built && packages.insert(index) {
                out.push((index, *binary, Vec::from([node])));
            }
        }
    }
    out
}

/// The flags for features. `--no-default-features` holds for the whole call, so the other
/// packages ask for their `default` by name.
fn features<'a>(model: &Model, binaries: impl Iterator<Item = &'a Selected<'a>>) -> Vec<String> {
    let mut selected: SortedSet<String> = SortedSet::new();
    let mut bare: SortedMap<usize, bool> = SortedMap::new();
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
