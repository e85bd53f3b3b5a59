//! What `--help` looks like: seven commands, and the rest under "more".

/// The frame around clap's own lists.
pub(crate) const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Commands:
{subcommands}{after-help}

Everywhere:
{options}";

/// The commands that clap is told to hide.
pub(crate) const MORE: &str = "\
More:
  wait         Wait until services are ready
  graph        Draw the graph of services (text, mermaid, dot, svg, json)
  check        Find mistakes in the metadata; `--fix` repairs cycles
  image        Make container images of the programs that are built here
  export       Write the graph down for Compose, Swarm or Kubernetes
  test         Run the workspace's tests, then test-e2e
  verify-deps  Find out whether services declare what they need, and need what they declare
  ci           Run what continuous integration runs
  replay       Step a run again that `up --record FILE` wrote, and compare

`cargo xtask COMMAND --help` tells the rest.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::MORE;

    #[test]
    fn help_shows_seven_commands_and_names_all_others_but_the_internal_ones() {
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
