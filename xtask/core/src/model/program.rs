//! Chooses the program of a service: which binary, with which features.
//!
//! It never guesses between several binaries. Cargo finds out whether one can be built.

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::fit::no_effect;
use super::{Model, Node, Runs};
use crate::manifest::Package;
use crate::manifest::at::{is_true, span};
use crate::problem::{Code, Problem, Severity};
use crate::terms::Name;
use crate::terms::suggest::{list, nearest};

/// The program of one service.
pub(super) fn choose(node: &Node, packages: &[Package], problems: &mut Vec<Problem>) -> Runs {
    let settings = &node.settings;
    let package = node.package.map(|index| &packages[index]);
    if let Some(package) = package {
        features(package, node, problems);
    } else {
        let keys = [
            ("bin", span(&settings.bin)),
            ("features", span(&settings.features)),
            ("no-default-features", span(&settings.no_default_features)),
        ];
        problems.extend(no_effect(Code::UnknownKey, "a service outside a package", &keys));
    }
    if let Some(command) = &settings.command {
        return Runs::Command(command.value.clone());
    }
    if let Some(image) = &settings.image {
        return Runs::Image(image.clone());
    }
    if is_true(&settings.external) {
        return Runs::External;
    }
    if node.mistaken_program {
        return Runs::Unknown;
    }
    let found = match package {
        Some(package) => binary(node, package),
        None => {
            Err(Problem::error(Code::MissingKey, format!("service `{}` has no program", node.name))
                .at(node.declared.span.clone(), "no package declares a service of this name")
                .hint("add `command = [\"program\"]`, `image = \"...\"` or `external = true`"))
        }
    };
    found.map(Runs::Binary).unwrap_or_else(|problem| {
        problems.push(problem);
        Runs::Unknown
    })
}

/// The index of the binary named, of `default-run`, or of the only one.
fn binary(node: &Node, package: &Package) -> Result<usize, Problem> {
    let names = || package.binaries.iter().map(|binary| binary.name.as_str());
    let index = |name: &str| names().position(|known| known == name);
    let its_binaries = || format!("its binaries are {}", list(names()));
    if let Some(bin) = &node.settings.bin {
        return index(&bin.value).ok_or_else(|| {
            let message = format!("package `{}` has no binary `{}`", package.name, bin.value);
            let problem = Problem::error(Code::UnknownBinary, message).at(bin.span.clone(), "");
            match nearest(&bin.value, names()) {
                Some(meant) => problem.hint(format!("did you mean `bin = \"{meant}\"`?")),
                None if package.binaries.is_empty() => problem.hint("add `src/main.rs`"),
                None => problem
                    .note(its_binaries())
                    .hint(format!("write `bin = \"{}\"`", package.binaries[0].name)),
            }
        });
    }
    let chosen = package.default_run.as_deref().and_then(index);
    let place = node.declared.span.clone();
    match (chosen, package.binaries.len()) {
        (Some(index), _) => Ok(index),
        (None, 1) => Ok(0),
        (None, 0) => {
            let message = format!("package `{}` has no binary to run", package.name);
            Err(Problem::error(Code::NoBinary, message)
                .at(place, "declared as a service here")
                .hint("add `src/main.rs`, or `command = [\"program\"]`"))
        }
        (None, _) => {
            let guess = names().find(|name| *name == node.name.as_str());
            let guess = guess.unwrap_or(&package.binaries[0].name);
            let message = format!("package `{}` has several binaries", package.name);
            Err(Problem::error(Code::AmbiguousBinary, message)
                .at(place, "choose one of them")
                .note(its_binaries())
                .hint(format!("add `bin = \"{guess}\"`")))
        }
    }
}

/// Reports features that the package does not have.
fn features(package: &Package, node: &Node, problems: &mut Vec<Problem>) {
    let wanted = node.settings.features.iter().flat_map(|features| &features.value);
    for feature in wanted.filter(|feature| !package.features.contains(&feature.value)) {
        let names = || package.features.iter().map(String::as_str);
        let message = format!("package `{}` has no feature `{}`", package.name, feature.value);
        let problem = Problem::error(Code::UnknownFeature, message).at(feature.span.clone(), "");
        let remove = format!("remove `\"{}\"`", feature.value);
        problems.push(match nearest(&feature.value, names()) {
            Some(meant) => problem.hint(format!("did you mean `\"{meant}\"`?")),
            None if package.features.is_empty() => problem.note("it has no features").hint(remove),
            None => problem.note(format!("its features are {}", list(names()))).hint(remove),
        });
    }
}

/// Reports services of `taking_part` that one cargo call cannot build together. Services outside
/// `together` are never wanted at the same time: that is a warning.
pub(crate) fn clashes(
    model: &Model,
    taking_part: &SortedSet<Name>,
    together: &SortedSet<Name>,
    problems: &mut Vec<Problem>,
) {
    let judged = |problem: Problem, first: &Node, second: &Node| {
        let both = together.contains(&first.name) && together.contains(&second.name);
        match both {
            true => problem,
            false => Problem { severity: Severity::Warning, ..problem.note(ONE_AT_A_TIME) },
        }
    };
    let mut first_of: SortedMap<usize, &Node> = SortedMap::new();
    let mut built: Vec<(&Node, usize, &str)> = Vec::new();
    let mut nodes: Vec<&Node> =
        model.nodes.iter().filter(|node| taking_part.contains(&node.name)).collect();
    // An error between two services is found before a warning about a third.
    nodes.sort_by_key(|node| !together.contains(&node.name));
    for node in nodes {
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
                let clash = feature_clash(&model.packages[package], first, node);
                problems.push(judged(clash, first, node));
            }
            Some(_) => {}
        }
    }
    // `--bin NAME` selects that binary in every package of the call, so a binary that no
    // service runs is enough for a clash.
    let mut reported: SortedSet<(usize, usize, &str)> = SortedSet::new();
    for (index, (first, package, binary)) in built.iter().enumerate() {
        for (later, (second, other, _)) in built.iter().enumerate() {
            let both = model.packages[*other].binaries.iter().any(|b| b.name == *binary);
            let pair = (*package.min(other), *package.max(other), *binary);
            if index != later && package != other && both && reported.insert(pair) {
                problems.push(judged(binary_clash(model, binary, first, second), first, second));
            }
        }
    }
}

/// What follows from a clash of services that are not wanted together.
const ONE_AT_A_TIME: &str = "they can run one at a time";

fn binary_clash(model: &Model, binary: &str, first: &Node, second: &Node) -> Problem {
    let package = |node: &Node| node.package.map_or("", |index| &model.packages[index].name);
    let (one, other) = (package(first), package(second));
    let message = format!("packages `{one}` and `{other}` both have a binary `{binary}`");
    Problem::error(Code::BinaryClash, message)
        .at(second.declared.span.clone(), format!("package `{other}`"))
        .context(first.declared.span.clone(), format!("package `{one}`"))
        .note("cargo writes both to one path, so one service could run the other's program")
        .hint(format!("rename one of them: `[[bin]] name = \"{other}-{binary}\"`"))
}

/// The features that a service builds its package with, and whether without the default ones.
fn features_of(node: &Node) -> (SortedSet<&str>, bool) {
    let features = node.settings.features.iter().flat_map(|f| &f.value);
    let bare = is_true(&node.settings.no_default_features);
    (features.map(|feature| feature.value.as_str()).collect(), bare)
}

fn feature_clash(package: &Package, first: &Node, second: &Node) -> Problem {
    let place = |node: &Node| {
        let (chosen, bare) = (&node.settings.features, &node.settings.no_default_features);
        span(chosen).or(span(bare)).unwrap_or(&node.declared.span).clone()
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
