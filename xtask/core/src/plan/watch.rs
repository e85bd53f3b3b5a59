//! The files that a service names with `watch`: glob patterns below the workspace root.
//!
//! The core matches no pattern. It makes each one absolute and checks where it leads.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::paths;
use super::scope::Scope;
use crate::manifest::Declarations;
use crate::problem::{Code, Problem};

/// The characters with a meaning in a pattern.
const SPECIAL: &[char] = &['*', '?', '[', ']', '{', '}', '\\'];

/// The absolute patterns of a service. The characters of its folder are literal.
pub(crate) fn patterns(scope: &Scope<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let (node, root) = (scope.node, &scope.declarations.root);
    let folder = literal(&node.folder);
    let inside = format!("{}/", literal(root));
    let mut out = Vec::new();
    for pattern in &node.settings.watch {
        let whole = paths::join(&folder, &pattern.value);
        if !pattern.value.starts_with('/') && whole.starts_with(&inside) {
            out.push(whole);
            continue;
        }
        let message = format!("`{}` is not below the workspace root", pattern.value);
        let problem = Problem::error(Code::BadValue, message).at(pattern.span.clone(), "");
        problems.push(problem.hint("name files of the workspace: `watch = [\"config/*.toml\"]`"));
    }
    out
}

/// Reports the patterns of `watch` in which `fault` finds a fault. The core has no parser of its
/// own.
#[must_use]
pub fn check_globs(
    declarations: &Declarations,
    fault: &dyn Fn(&str) -> Option<String>,
) -> Vec<Problem> {
    let mut out = Vec::new();
    for section in &declarations.sections {
        let overlays = section.overlays.iter().map(|(_, settings)| settings);
        for settings in core::iter::once(&section.settings).chain(overlays) {
            for pattern in &settings.watch {
                let Some(why) = fault(&pattern.value) else { continue };
                let message = format!("`{}` is not a pattern of files", pattern.value);
                let problem = Problem::error(Code::BadValue, message).at(pattern.span.clone(), why);
                out.push(problem.hint("put `\\` before a character that is meant literally"));
            }
        }
    }
    out
}

/// The text as a pattern that matches only itself.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if SPECIAL.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_of_a_pattern_is_literal() {
        assert_eq!(literal("/w/a[1]*"), "/w/a\\[1\\]\\*");
    }
}
