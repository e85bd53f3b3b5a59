//! Chooses the program of a service: which binary, with which features.
//!
//! It never guesses between several binaries. Cargo finds out whether one can be built.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use super::merge::Merged;
use super::{Model, Node, Runs};
use crate::manifest::Package;
use crate::manifest::TextAt;
use crate::manifest::suggest::{list, nearest};
use crate::problem::{Code, Problem};

/// The program of one service.
pub(super) fn choose(merged: &Merged, packages: &[Package], problems: &mut Vec<Problem>) -> Runs {
    let settings = &merged.settings;
    let package = merged.package.map(|index| &packages[index]);
    if let Some(package) = package {
        features(package, settings.features.as_ref().map(|f| f.value.as_slice()), problems);
    } else {
        outside(merged, problems);
    }
    if let Some(command) = &settings.command {
        return Runs::Command(command.value.clone());
    }
    if let Some(image) = &settings.image {
        return Runs::Image(image.clone());
    }
    if settings.external.as_ref().is_some_and(|external| external.value) {
        return Runs::External;
    }
    match package {
        Some(package) => binary(merged, package, problems),
        None => {
            let name = &merged.name.value;
            problems.push(
                Problem::error(Code::MissingKey, format!("service `{name}` has no program"))
                    .at(merged.name.span.clone(), "no package declares a service of this name")
                    .hint("add `command = [\"program\"]`, `image = \"...\"` or `external = true`"),
            );
            Runs::Unknown
        }
    }
}

/// Reports keys that have no effect outside a package.
fn outside(merged: &Merged, problems: &mut Vec<Problem>) {
    let settings = &merged.settings;
    let keys = [
        ("bin", settings.bin.as_ref().map(|at| &at.span)),
        ("features", settings.features.as_ref().map(|at| &at.span)),
        ("no-default-features", settings.no_default_features.as_ref().map(|at| &at.span)),
    ];
    for (key, span) in keys {
        if let Some(span) = span {
            problems.push(
                Problem::error(
                    Code::UnknownKey,
                    format!("`{key}` has no effect on a service outside a package"),
                )
                .at(span.clone(), "")
                .hint(format!("remove `{key}`")),
            );
        }
    }
}

/// The binary named, `default-run`, or the only one.
fn binary(merged: &Merged, package: &Package, problems: &mut Vec<Problem>) -> Runs {
    let names = || package.binaries.iter().map(|binary| binary.name.as_str());
    let index = |name: &str| names().position(|known| known == name);
    if let Some(bin) = &merged.settings.bin {
        if let Some(index) = index(&bin.value) {
            return Runs::Binary(index);
        }
        let problem = Problem::error(
            Code::UnknownBinary,
            format!("package `{}` has no binary `{}`", package.name, bin.value),
        )
        .at(bin.span.clone(), "");
        let problem = match nearest(&bin.value, names()) {
            Some(meant) => problem.hint(format!("did you mean `bin = \"{meant}\"`?")),
            None if package.binaries.is_empty() => problem.hint("add `src/main.rs`"),
            None => problem
                .note(format!("its binaries are {}", list(names())))
                .hint(format!("write `bin = \"{}\"`", package.binaries[0].name)),
        };
        problems.push(problem);
        return Runs::Unknown;
    }
    let chosen = package.default_run.as_deref().and_then(index);
    match (chosen, package.binaries.len()) {
        (Some(index), _) => Runs::Binary(index),
        (None, 1) => Runs::Binary(0),
        (None, 0) => {
            problems.push(
                Problem::error(
                    Code::NoBinary,
                    format!("package `{}` has no binary to run", package.name),
                )
                .at(merged.name.span.clone(), "declared as a service here")
                .hint("add `src/main.rs`, or `command = [\"program\"]`"),
            );
            Runs::Unknown
        }
        (None, _) => {
            let guess = names().find(|name| *name == merged.name.value);
            let guess = guess.unwrap_or(&package.binaries[0].name);
            problems.push(
                Problem::error(
                    Code::AmbiguousBinary,
                    format!("package `{}` has several binaries", package.name),
                )
                .at(merged.name.span.clone(), "choose one of them")
                .note(format!("its binaries are {}", list(names())))
                .hint(format!("add `bin = \"{guess}\"`")),
            );
            Runs::Unknown
        }
    }
}

/// Reports features that the package does not have.
fn features(package: &Package, wanted: Option<&[TextAt]>, problems: &mut Vec<Problem>) {
    for feature in wanted.unwrap_or_default() {
        if package.features.contains(&feature.value) {
            continue;
        }
        let names = || package.features.iter().map(alloc::string::String::as_str);
        let problem = Problem::error(
            Code::UnknownFeature,
            format!("package `{}` has no feature `{}`", package.name, feature.value),
        )
        .at(feature.span.clone(), "");
        let problem = match nearest(&feature.value, names()) {
            Some(meant) => problem.hint(format!("did you mean `\"{meant}\"`?")),
            None if package.features.is_empty() => {
                problem.note("it has no features").hint(format!("remove `\"{}\"`", feature.value))
            }
            None => problem
                .note(format!("its features are {}", list(names())))
                .hint(format!("remove `\"{}\"`", feature.value)),
        };
        problems.push(problem);
    }
}

/// Reports services that one cargo call cannot build together.
pub(super) fn clashes(model: &Model, problems: &mut Vec<Problem>) {
    let mut first_of: BTreeMap<usize, &Node> = BTreeMap::new();
    let mut built: Vec<(&Node, usize, &str)> = Vec::new();
    for node in &model.nodes {
        let Some(package) = node.package else { continue };
        if let Runs::Binary(binary) = node.program {
            built.push((node, package, &model.packages[package].binaries[binary].name));
        }
        if !matches!(node.program, Runs::Binary(_) | Runs::Unknown) {
            continue;
        }
        match first_of.get(&package) {
            None => {
                first_of.insert(package, node);
            }
            Some(first) if features_of(first) != features_of(node) => {
                problems.push(feature_clash(&model.packages[package], first, node));
            }
            Some(_) => {}
        }
    }
    // `--bin NAME` selects that binary in every package of the call, so a binary that no
    // service runs is enough for a clash.
    let mut reported: BTreeSet<(usize, usize, &str)> = BTreeSet::new();
    for (index, (first, package, binary)) in built.iter().enumerate() {
        for (later, (second, other, _)) in built.iter().enumerate() {
            let both = model.packages[*other].binaries.iter().any(|b| b.name == *binary);
            let pair = (*package.min(other), *package.max(other), *binary);
            if index != later && package != other && both && reported.insert(pair) {
                problems.push(binary_clash(model, binary, first, second));
            }
        }
    }
}

fn binary_clash(model: &Model, binary: &str, first: &Node, second: &Node) -> Problem {
    let package = |node: &Node| node.package.map_or("", |index| &model.packages[index].name);
    Problem::error(
        Code::BinaryClash,
        format!(
            "packages `{}` and `{}` both have a binary `{binary}`",
            package(first),
            package(second)
        ),
    )
    .at(second.declared.span.clone(), format!("package `{}`", package(second)))
    .context(first.declared.span.clone(), format!("package `{}`", package(first)))
    .note("cargo writes both to one path, so one service could run the other's program")
    .hint(format!("rename one of them: `[[bin]] name = \"{}-{binary}\"`", package(second)))
}

/// The features that a service builds its package with, and whether without the default ones.
fn features_of(node: &Node) -> (BTreeSet<&str>, bool) {
    let features = node.settings.features.iter().flat_map(|f| &f.value);
    let bare = node.settings.no_default_features.as_ref().is_some_and(|bare| bare.value);
    (features.map(|feature| feature.value.as_str()).collect(), bare)
}

fn feature_clash(package: &Package, first: &Node, second: &Node) -> Problem {
    let place = |node: &Node| {
        let chosen = node.settings.features.as_ref().map(|f| f.span.clone());
        let bare = node.settings.no_default_features.as_ref().map(|f| f.span.clone());
        chosen.or(bare).unwrap_or_else(|| node.declared.span.clone())
    };
    Problem::error(
        Code::FeatureClash,
        format!(
            "services `{}` and `{}` need package `{}` built with different features",
            first.name, second.name, package.name
        ),
    )
    .at(place(second), format!("features of `{}`", second.name))
    .context(place(first), format!("features of `{}`", first.name))
    .note("one package is built once, for all of its services")
    .hint("give both the same `features` and `no-default-features`")
}
