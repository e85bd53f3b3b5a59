//! The layout of `--help`: seven commands, and the rest under "More".

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

/// The commands that clap hides.
pub(crate) const MORE: &str = "\
More:
  wait         Wait until services are ready
  graph        Draw the graph of services (text, mermaid, dot, svg, json)
  env          Print the variables of a service for a shell, to start it by hand
  check        Check the metadata of all services; `--fix` repairs cycles
  image        Build container images of the workspace's programs
  export       Export the services for Compose, Swarm or Kubernetes
  test         Run the end-to-end tests, then the workspace's tests
  verify-deps  Test whether services declare exactly what they need
  ci           Run the checks and tests of continuous integration
  replay       Replay a stack that `up --record FILE` recorded, and compare its effects

`cargo xtask COMMAND --help` describes a command.

Example: `cargo xtask up`";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::MORE;

    #[test]
    fn help_lists_all_commands_except_internal_ones() {
        let command = Cli::command();
        let shown: Vec<_> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_string())
            .collect();
        assert_eq!(shown, ["up", "down", "status", "logs", "restart", "test-e2e", "explain"]);
        for hidden in command.get_subcommands().filter(|command| command.is_hide_set()) {
            let name = hidden.get_name();
            let named = MORE.lines().any(|line| line.trim_start().starts_with(&format!("{name} ")));
            assert_eq!(named, !["supervise", "sweep"].contains(&name), "{name}");
        }
        command.clone().debug_assert();
    }
}
