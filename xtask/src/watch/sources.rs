//! What a changed file affects: which services, and whether the plan or a build may change.
//!
//! Cargo's `.d` files list what each program is made of. A file that no list names can still
//! matter: a new module, a manifest, or any file of a package whose build script names none. Then
//! cargo decides, and it builds nothing if nothing changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use globset::GlobMatcher;
use xtask_core::sorted::SortedMap;
use xtask_core::terms::Name;

use super::pattern::pattern;

/// How a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A known file was written.
    Written,
    Appeared,
    Gone,
    /// A file that git ignores, or one that appeared and is gone again.
    Ignored,
}

/// A package with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageFolder {
    pub(crate) folder: PathBuf,
    pub(crate) has_build_script: bool,
}

/// What changed files affect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affected {
    /// The services whose programs are made of the files, by cargo's lists.
    pub(crate) services: BTreeSet<Name>,
    /// The services that name the files with `watch`.
    pub(crate) restart: BTreeSet<Name>,
    /// Whether the plan may change.
    pub(crate) plan: bool,
    /// Whether cargo may build something.
    pub(crate) build: bool,
    /// The files that certainly count, for messages.
    pub(crate) files: BTreeSet<PathBuf>,
    /// The other files, about which cargo decides.
    pub(crate) undecided: BTreeSet<PathBuf>,
}

impl Affected {
    pub(crate) fn is_nothing(&self) -> bool {
        !self.plan && !self.build && self.restart.is_empty()
    }

    /// Adds what other files affect.
    pub(crate) fn add(&mut self, other: Self) {
        self.services.extend(other.services);
        self.restart.extend(other.restart);
        self.files.extend(other.files);
        self.undecided.extend(other.undecided);
        self.plan |= other.plan;
        self.build |= other.build;
    }

    /// Anything may have changed.
    pub(crate) fn everything() -> Self {
        Self { plan: true, build: true, ..Self::default() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The files and folders of cargo's lists, with the services whose programs they are part of.
    listed: BTreeMap<PathBuf, BTreeSet<Name>>,
    packages: Vec<PackageFolder>,
    /// Files that planning read, such as env-files.
    settings: BTreeSet<PathBuf>,
    patterns: Vec<(Name, GlobMatcher)>,
}

impl Sources {
    /// Replaces the list of a program.
    pub(crate) fn list(&mut self, services: &[Name], files: Vec<PathBuf>) {
        self.listed.retain(|_, of| {
            of.retain(|service| !services.contains(service));
            !of.is_empty()
        });
        for file in files {
            self.listed.entry(file).or_default().extend(services.iter().cloned());
        }
    }

    /// Replaces what the manifests say. A malformed pattern matches nothing: planning reports it.
    pub(crate) fn declare(
        &mut self,
        packages: Vec<PackageFolder>,
        settings: BTreeSet<PathBuf>,
        patterns: &SortedMap<Name, Vec<String>>,
    ) {
        self.packages = packages;
        self.settings = settings;
        let all = patterns.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one)));
        self.patterns =
            all.filter_map(|(name, one)| Some((name.clone(), pattern(one).ok()?))).collect();
    }

    /// The files that count although git may ignore them.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Path> {
        self.listed.keys().chain(&self.settings).map(PathBuf::as_path)
    }

    /// What a changed file affects. While `broken`, the last build failed and its lists are old, so
    /// every file of a package that git does not ignore may matter.
    pub(crate) fn affected(&self, path: &Path, change: Change, broken: bool) -> Affected {
        let mut out = Affected::default();
        let matching = self.patterns.iter().filter(|(_, pattern)| pattern.is_match(path));
        out.restart.extend(matching.map(|(name, _)| name.clone()));
        let is_setting = self.settings.contains(path);
        out.plan |= is_setting;
        // A build script may list a folder.
        for listed in path.ancestors().filter_map(|path| self.listed.get(path)) {
            out.services.extend(listed.iter().cloned());
        }
        out.build |= !out.services.is_empty();
        if change != Change::Ignored {
            let moves = change != Change::Written;
            let package = self.package_of(path);
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            out.plan |= is_setting_of_cargo(path) || (moves && is_source && package.is_some());
            out.build |= out.plan || package.is_some_and(|package| package.has_build_script);
            // A missing file may have appeared, or the source may be right now.
            out.plan |= broken && (moves || package.is_some());
        }
        out.build |= out.plan;
        let is_named = is_setting || !out.services.is_empty() || !out.restart.is_empty();
        if is_named {
            out.files.insert(path.to_path_buf());
        } else if !out.is_nothing() {
            out.undecided.insert(path.to_path_buf());
        }
        out
    }

    /// The innermost package around a file.
    fn package_of(&self, path: &Path) -> Option<&PackageFolder> {
        let around = self.packages.iter().filter(|package| path.starts_with(&package.folder));
        around.max_by_key(|package| package.folder.as_os_str().len())
    }
}

/// Whether cargo reads its settings from a file of this name.
fn is_setting_of_cargo(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name);
    match name {
        "Cargo.toml" | "Cargo.lock" | "rust-toolchain" | "rust-toolchain.toml" => true,
        "config" | "config.toml" => folder.is_some_and(|folder| folder == ".cargo"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `shop` and `stock` are made of `shared`, and `desk` is not. `shop` has a build script that
    /// reads a folder.
    fn sources() -> Sources {
        let mut sources = Sources::default();
        let list = |files: &[&str]| files.iter().map(|file| Path::new("/w").join(file)).collect();
        let own = ["shop/src/main.rs", "shared/src/lib.rs", "shop/migrations", "assets/logo.svg"];
        sources.list(&["shop".into()], list(&own));
        sources.list(&["stock".into()], list(&["stock/src/main.rs", "shared/src/lib.rs"]));
        sources.list(&["desk".into()], list(&["desk/src/main.rs"]));
        let package = |name: &str| PackageFolder {
            folder: Path::new("/w").join(name),
            has_build_script: name == "shop",
        };
        let patterns = SortedMap::from([("proxy".into(), vec!["/w/config/*.toml".to_owned()])]);
        sources.declare(
            ["shared", "shop", "stock", "desk"].map(package).into(),
            BTreeSet::from(["/w/stock/.env".into()]),
            &patterns,
        );
        sources
    }

    fn services(path: &str, change: Change) -> Vec<String> {
        let affected = sources().affected(&Path::new("/w").join(path), change, false);
        assert_eq!(affected.build, !affected.is_nothing(), "{path}");
        affected.services.iter().map(ToString::to_string).collect()
    }

    fn affected(path: &str, change: Change) -> Affected {
        sources().affected(&Path::new("/w").join(path), change, false)
    }

    #[test]
    fn edit_affects_exactly_the_programs_made_of_it() {
        assert_eq!(services("shared/src/lib.rs", Change::Written), ["shop", "stock"]);
        assert_eq!(services("desk/src/main.rs", Change::Written), ["desk"]);
        assert_eq!(services("assets/logo.svg", Change::Ignored), ["shop"], "cargo reads it");
        assert_eq!(services("shared/src/lib.rs", Change::Gone), ["shop", "stock"]);
    }

    #[test]
    fn file_below_a_listed_folder_affects_its_reader() {
        assert_eq!(services("shop/migrations/2.sql", Change::Appeared), ["shop"]);
    }

    #[test]
    fn tests_and_documents_affect_nothing() {
        for path in ["stock/tests/api.rs", "stock/src/tests.rs", "stock/README.md", "README.md"] {
            assert!(affected(path, Change::Written).is_nothing(), "{path}");
        }
    }

    #[test]
    fn cargo_decides_about_files_it_may_read() {
        for (path, change) in [
            ("stock/src/new.rs", Change::Appeared),
            ("stock/src/old.rs", Change::Gone),
            ("shop/README.md", Change::Written),
            ("services/new/Cargo.toml", Change::Appeared),
            ("Cargo.lock", Change::Written),
            (".cargo/config.toml", Change::Written),
        ] {
            let affected = affected(path, change);
            assert!(affected.build && affected.services.is_empty(), "{path}");
        }
        assert!(affected("stock/src/new.rs", Change::Ignored).is_nothing());
        assert!(affected("config.toml", Change::Written).is_nothing());
    }

    #[test]
    fn env_file_changes_the_plan_although_git_ignores_it() {
        let affected = affected("stock/.env", Change::Ignored);
        assert!(affected.plan && affected.services.is_empty());
    }

    #[test]
    fn pattern_restarts_only_the_service_that_names_it() {
        let affected = affected("config/proxy.toml", Change::Written);
        assert_eq!(affected.restart, BTreeSet::from(["proxy".into()]));
        assert!(!affected.build);
        let below = sources().affected(Path::new("/w/config/a/b.toml"), Change::Written, false);
        assert!(below.is_nothing());
    }

    #[test]
    fn broken_build_reads_every_file_of_the_user() {
        let sources = sources();
        let affected = |path, change| sources.affected(Path::new(path), change, true);
        assert!(affected("/w/shared/any.txt", Change::Written).build);
        assert!(affected("/w/any.txt", Change::Appeared).build);
        assert!(affected("/w/any.txt", Change::Written).is_nothing());
        assert!(affected("/w/shared/any.txt", Change::Ignored).is_nothing());
    }

    #[test]
    fn new_list_replaces_the_old_one() {
        let mut sources = sources();
        sources.list(&["stock".into()], vec!["/w/stock/src/main.rs".into()]);
        let affected = sources.affected(Path::new("/w/shared/src/lib.rs"), Change::Written, false);
        assert_eq!(affected.services, BTreeSet::from(["shop".into()]));
    }
}
