//! The commands of this package, in the order of `--help`.

use clap_builder::{ArgMatches, Command};
use xtask_core::terms::TOOL;

use super::arguments::Arguments;
use super::exit::Exit;
use super::{Global, help};
use super::{down, env, explain, logs, restart, status, supervise, sweep, up, wait};

/// A command of this package.
pub(super) struct Daily {
    name: &'static str,
    about: &'static str,
    /// What its own `--help` adds to `about`: what the default is, and an example.
    details: &'static [&'static str],
    pub(super) shown: Shown,
    add: fn(Command) -> Command,
    pub(super) run: fn(&Global, &mut ArgMatches) -> anyhow::Result<Exit>,
}

/// Where `--help` lists a command.
#[derive(PartialEq)]
pub(super) enum Shown {
    AsCommand,
    /// In [`super::LISTED`].
    UnderMore,
    /// Only the tool itself starts it.
    Never,
}

static COMMANDS: [Daily; 10] = [
    Daily {
        name: "up",
        about: "Build and start services in dependency order",
        details: &[
            "Starts the workspace's default services and their dependencies, then follows their \
             logs. Ctrl-C shuts the stack down.",
            "Example: `%xtask% up --detach`",
        ],
        shown: Shown::AsCommand,
        add: up::UpArgs::add,
        run: |global, matches| up::run(global, &Arguments::read(matches)),
    },
    Daily {
        name: "down",
        about: "Stop services, dependents first",
        details: &[
            "Stops the whole stack and waits until its processes have exited. Data is kept.",
            "Example: `%xtask% down --data`",
        ],
        shown: Shown::AsCommand,
        add: down::DownArgs::add,
        run: |global, matches| down::run(global, &Arguments::read(matches)),
    },
    Daily {
        name: "status",
        about: "Show the services of a running stack",
        details: &["Shows the stack `dev` as a table.", "Example: `%xtask% status --json`"],
        shown: Shown::AsCommand,
        add: status::StatusArgs::add,
        run: |global, matches| status::run(global, &Arguments::read(matches)),
    },
    Daily {
        name: "logs",
        about: "Show the output of services",
        details: &[
            "Shows the last 200 lines of each service, also after the stack is down.",
            "Example: `%xtask% logs --follow --since 5m`",
        ],
        shown: Shown::AsCommand,
        add: logs::LogsArgs::add,
        run: |global, matches| logs::run(global, &Arguments::read(matches)),
    },
    Daily {
        name: "restart",
        about: "Build services and start them again",
        details: &[
            "Applies edits of their sources and metadata and the variables of this shell, and \
             waits until they are ready. A failed build leaves the old runs serving.",
            "Example: `%xtask% restart web`",
        ],
        shown: Shown::AsCommand,
        add: restart::RestartArgs::add,
        run: |global, matches| restart::run(global, &Arguments::read(matches)),
    },
    Daily {
        name: "explain",
        about: "Show every setting of a service and its source",
        details: &[
            "Shows the settings of the present metadata, and the state of the service if it runs.",
            "Example: `%xtask% explain web`",
        ],
        shown: Shown::AsCommand,
        add: explain::ExplainArgs::add,
        run: |global, matches| explain::run(global, &Arguments::read(matches)),
    },
    Daily {
        name: "wait",
        about: "Wait until services are ready",
        details: &[
            "Waits for all wanted services, without a deadline.",
            "Example: `%xtask% wait --timeout 30s`",
        ],
        shown: Shown::UnderMore,
        add: wait::WaitArgs::add,
        run: |global, matches| wait::run(global, &Arguments::read(matches)),
    },
    Daily {
        name: "env",
        about: "Print the variables of a service for a shell",
        details: &[
            "Prints real values, secrets included, so that the service can be started by hand.",
            "Example: `eval \"$(%xtask% env web)\"; cargo run -p web`",
        ],
        shown: Shown::UnderMore,
        add: env::EnvArgs::add,
        run: |global, matches| env::run(global, &Arguments::read(matches)),
    },
    Daily {
        name: "supervise",
        about: "Supervise a stack; internal",
        details: &[],
        shown: Shown::Never,
        add: supervise::SuperviseArgs::add,
        run: |_, matches| supervise::run(&Arguments::read(matches)),
    },
    Daily {
        name: "sweep",
        about: "Clean up after a supervisor; internal",
        details: &[],
        shown: Shown::Never,
        add: sweep::SweepArgs::add,
        run: |_, matches| sweep::run(&Arguments::read(matches)),
    },
];

impl Daily {
    fn declaration(&self) -> Command {
        let command = Command::new(self.name).about(self.about);
        let command = (self.add)(command).hide(self.shown != Shown::AsCommand);
        match self.details {
            [] => command,
            details => command.long_about(format!("{}\n\n{}", self.about, details.join("\n\n"))),
        }
    }
}

pub(super) fn named(name: &str) -> Option<&'static Daily> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// The whole command line, except for the commands of other packages.
pub(super) fn all() -> Command {
    let program = Command::new(TOOL)
        .bin_name(TOOL)
        .about("Start, watch and test the services of this workspace")
        .version(env!("CARGO_PKG_VERSION"))
        .help_template(help::TEMPLATE)
        .after_help(help::more())
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true);
    Global::add(program).subcommands(COMMANDS.iter().map(Daily::declaration))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Arguments>(words: &str) {
        let words = words.split(' ').filter(|word| !word.is_empty());
        let command = T::add(Command::new(TOOL)).no_binary_name(true);
        T::read(&mut command.try_get_matches_from(words).unwrap());
    }

    /// Clap panics if an argument is read that is not declared or has another type.
    #[test]
    fn commands_read_what_they_declare() {
        read::<Global>("--manifest-path a --stack a --color never");
        read::<up::UpArgs>(
            "a --record a --until-pid 1 --with a --cycles relax -e A=1 --ports auto --containers=a \
             --profile a --start-order random --seed 1 --slow a=1s -- a",
        );
        read::<down::DownArgs>("a");
        read::<status::StatusArgs>("");
        read::<logs::LogsArgs>("a -n 1 --since 1s --grep a");
        read::<restart::RestartArgs>("a");
        read::<explain::ExplainArgs>("a");
        read::<wait::WaitArgs>("a --timeout 1s");
        read::<env::EnvArgs>("a");
        read::<supervise::SuperviseArgs>("--stack-dir a --until-pid 1 --record a");
        read::<sweep::SweepArgs>("--stack-dir a --runtime-dir a --supervisor 1");
    }
}
