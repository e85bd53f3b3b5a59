//! The layout of `--help`: seven commands, and the rest under "More".

use std::fmt::Write as _;

use super::listed::LISTED;

/// The heading of the options that every command has.
pub(crate) const GLOBAL: &str = "Global options";

/// The layout of the top-level `--help`.
pub(crate) const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Commands:
{subcommands}{after-help}

Global options:
{options}";

/// The commands that clap hides, and where to read more.
pub(crate) fn more() -> String {
    let mut text = "More:\n".to_owned();
    let width = LISTED.iter().map(|command| command.name.len()).max().unwrap_or_default();
    for command in LISTED {
        let _ = writeln!(text, "  {:width$}  {}", command.name, command.about);
    }
    text.push_str("\n`%xtask% COMMAND --help` describes a command.\n\nExample: `%xtask% up`");
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Elsewhere, LISTED, WATCHER, whole};

    #[test]
    fn help_lists_all_commands_except_internal_ones() {
        let command = whole::<Elsewhere>();
        let shown: Vec<_> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_string())
            .collect();
        assert_eq!(shown, ["up", "down", "status", "logs", "restart", "explain", "test-e2e"]);
        for hidden in command.get_subcommands().filter(|command| command.is_hide_set()) {
            let name = hidden.get_name();
            let listed = LISTED.iter().any(|listed| listed.name == name);
            assert_eq!(listed, !["supervise", "sweep", WATCHER.name].contains(&name), "{name}");
        }
        command.clone().debug_assert();
    }
}
