//! What a watcher writes to its log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use xtask::view::progress::ProgressLine;
use xtask::view::style::{BUSY, GOOD, WARN};
use xtask::view::words::list;
use xtask_core::terms::Name;

/// The line about changed files. `services` are those that cargo or the metadata names for them.
pub(crate) fn changed(
    root: &Path,
    files: &BTreeSet<PathBuf>,
    services: &BTreeSet<Name>,
) -> ProgressLine {
    let shown = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let text = match files.len() {
        0 => "the workspace".to_owned(),
        1 | 2 => files.iter().map(shown).collect::<Vec<_>>().join(" and "),
        more => {
            let first = files.first().map(shown).unwrap_or_default();
            format!("{first} and {} more files", more - 1)
        }
    };
    let names: Vec<&str> = services.iter().map(Name::as_str).collect();
    let of = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    (BUSY, "Changed", format!("{text}{of}"))
}

/// The line about a failed build.
pub(crate) fn kept(what: &str) -> ProgressLine {
    (WARN, "Kept", format!("the running services, because the {what} failed"))
}

/// The line about a build after a failed one.
pub(crate) fn mended() -> ProgressLine {
    (GOOD, "Mended", "the last edit builds again".to_owned())
}

/// The line about files that builds write.
pub(crate) fn generated(root: &Path, files: &[PathBuf]) -> ProgressLine {
    let shown = |path: &PathBuf| format!("`{}`", path.strip_prefix(root).unwrap_or(path).display());
    let names = list(files.iter().map(shown));
    (WARN, "Ignoring", format!("{names} while cargo builds: each build writes it anew"))
}

/// The line about missing file events.
pub(crate) fn polls(reason: &str) -> ProgressLine {
    let text = format!("all files once a second, because {reason}; `sysctl` raises it");
    (WARN, "Polling", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_files_are_relative_and_counted() {
        let files = |names: &[&str]| names.iter().map(|name| Path::new("/w").join(name)).collect();
        let services = BTreeSet::from(["shop".into(), "stock".into()]);
        let text = |names: &[&str]| changed(Path::new("/w"), &files(names), &services).2;
        assert_eq!(text(&["shared/src/lib.rs"]), "shared/src/lib.rs (shop, stock)");
        assert_eq!(text(&["a", "b", "c"]), "a and 2 more files (shop, stock)");
    }
}
