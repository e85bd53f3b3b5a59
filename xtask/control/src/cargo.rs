//! Prepares a call of cargo from a process that cargo itself runs, as a user would type it.

use std::path::Path;
use std::process::Command;

use crate::inherited::is_cargo_variable;

/// The same cargo, in `folder`, with the user's settings, but without the variables that the outer
/// cargo and nextest set for this process. With nextest's variables, a nested run would count as
/// part of the outer one and share its stack.
pub fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(folder);
    let of_runner = |name: &str| is_cargo_variable(name) || name.starts_with("NEXTEST");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_runner) {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_cargo_is_not_part_of_the_outer_run() {
        let command = cargo(Path::new("."));
        let removed = |name: &str| command.get_envs().any(|set| set == (name.as_ref(), None));
        let outer = std::env::vars().map(|(name, _)| name);
        let outer: Vec<_> = outer.filter(|name| name.starts_with("NEXTEST")).collect();
        assert!(outer.iter().all(|name| removed(name)), "{outer:?}");
        assert!(removed("CARGO_MANIFEST_DIR"));
    }
}
