//! Merges what several sections say of one service.
//!
//! A service has one section that declares it; the workspace's table of the same name
//! and the active overlays lie on top, in this order. `env`, `volumes` and `stop` merge by key,
//! `depends-on` and `uses` are united, everything else replaces.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Edge, Node, Runs};
use crate::manifest::Declarations;
use crate::manifest::at::Words;
use crate::manifest::settings::{Owner, Section, Settings};
use crate::problem::{Code, Problem};
use crate::terms::{Kind, Name};

/// One service, its sections merged.
pub(super) struct Merged {
    pub(super) name: Words,
    pub(super) package: Option<usize>,
    folder: String,
    pub(super) settings: Settings,
}

impl Merged {
    /// Service or job.
    pub(super) fn kind(&self) -> Kind {
        self.settings.kind.as_ref().map_or(Kind::Service, |kind| kind.value)
    }

    /// The node, with what was found for it.
    pub(super) fn into_node(self, program: Runs, edges: (Vec<Edge>, Vec<Edge>)) -> Node {
        Node {
            name: Name::from(self.name.value.as_str()),
            declared: self.name.with(()),
            package: self.package,
            folder: self.folder.clone(),
            kind: self.kind(),
            settings: self.settings,
            program,
            depends_on: edges.0,
            uses: edges.1,
        }
    }
}

/// One entry for each service, in the order of the manifests.
pub(super) fn merge(
    declarations: &Declarations,
    with: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Merged> {
    let mut out: Vec<Merged> = Vec::new();
    // Packages first: a table of the workspace may lie on top of any of them.
    let (packages, workspace): (Vec<&Section>, Vec<&Section>) =
        declarations.sections.iter().partition(|section| section.owner != Owner::Workspace);
    for section in packages.into_iter().chain(workspace) {
        let package = match section.owner {
            Owner::Package(index) => Some(index),
            Owner::Workspace => None,
        };
        let earlier = out.iter_mut().find(|merged| merged.name.value == section.name.value);
        if let Some(earlier) = earlier {
            if package.is_none() && !brings_program(&section.settings) {
                lay(&mut earlier.settings, &section.settings);
                continue;
            }
            // It is kept all the same, for what else may be wrong with it.
            problems.push(duplicate(&earlier.name, &section.name));
        }
        out.push(Merged {
            name: section.name.clone(),
            package,
            folder: section.folder.clone(),
            settings: section.settings.clone(),
        });
    }
    for name in with {
        for section in &declarations.sections {
            for (_, overlay) in section.overlays.iter().filter(|(n, _)| n.value == *name) {
                if let Some(merged) = out.iter_mut().find(|m| m.name.value == section.name.value) {
                    lay(&mut merged.settings, overlay);
                }
            }
        }
    }
    out
}

/// Whether the section says what is run.
fn has_program(settings: &Settings) -> bool {
    settings.bin.is_some() || brings_program(settings)
}

/// Whether it does so without the help of a package, which a table of the workspace that is
/// laid over a package's section leaves to the package.
fn brings_program(settings: &Settings) -> bool {
    settings.command.is_some()
        || settings.image.is_some()
        || settings.external.as_ref().is_some_and(|external| external.value)
}

fn duplicate(first: &Words, second: &Words) -> Problem {
    Problem::error(Code::DuplicateName, format!("two services are called `{}`", first.value))
        .at(second.span.clone(), "declared again")
        .context(first.span.clone(), "declared first")
        .hint("give one of them another `name`")
}

/// Lays `top` over `base`.
fn lay(base: &mut Settings, top: &Settings) {
    if has_program(top) {
        (base.bin, base.command, base.image, base.external) = (None, None, None, None);
        // What held for one program need not hold for another.
        base.placement = None;
    }
    macro_rules! replace {
        ($($($key:ident).+)*) => {
            $(if top.$($key).+.is_some() { base.$($key).+.clone_from(&top.$($key).+); })*
        };
    }
    replace!(bin command image external placement kind ports url host socket_activation ready watchdog
        args env_file cwd features no_default_features restart stop_signal stop_timeout
        start_timeout log_size_bytes log_files adopt self_probe deploy.replicas deploy.memory_bytes deploy.cpu_millis);
    lay_pairs(&mut base.env, &top.env);
    lay_pairs(&mut base.volumes, &top.volumes);
    for edge in &top.depends_on {
        base.uses.retain(|used| used.value != edge.on.value);
        match base.depends_on.iter_mut().find(|known| known.on.value == edge.on.value) {
            Some(known) => known.clone_from(edge),
            None => base.depends_on.push(edge.clone()),
        }
    }
    for used in &top.uses {
        let known = base.uses.iter().any(|known| known.value == used.value)
            || base.depends_on.iter().any(|edge| edge.on.value == used.value);
        if !known {
            base.uses.push(used.clone());
        }
    }
}

/// Lays pairs over others by their first words.
fn lay_pairs(base: &mut Vec<(Words, Words)>, top: &[(Words, Words)]) {
    for (key, value) in top {
        match base.iter_mut().find(|(known, _)| known.value == key.value) {
            Some(entry) => *entry = (key.clone(), value.clone()),
            None => base.push((key.clone(), value.clone())),
        }
    }
}
