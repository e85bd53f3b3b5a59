//! Words that users bring from other tools, and what they mean here.
//!
//! A word works if exactly one command here does the same. Any other known word is answered with
//! the commands that come near. `--help` and completions list none of them.

use std::ffi::OsString;

use clap_builder::error::{ContextKind, ContextValue, ErrorKind};
use clap_builder::{Arg, Command, Error};
use xtask_core::terms::suggest::nearest;

use super::arguments::Arguments as _;
use super::error::Failure;
use super::exit::Exit;
use super::{Elsewhere, Global, LISTED, whole};

/// Words that work, and what replaces them.
const SAME: [(&str, &[&str]); 4] = [
    ("ps", &["status"]),
    ("start", &["up", DETACH]),
    ("stop", &["down"]),
    ("version", &["--version"]),
];

const DETACH: &str = "--detach";

/// What the words `list` and `ls` may mean.
const LIST: &str = "`%xtask% status` shows the services of the running stack, `%xtask% status \
                    --all` the stacks of all workspaces, `%xtask% graph` what is declared";

/// What deletes the state of a stack.
const CLEAN: &str = "`%xtask% down --data` stops the stack and deletes its data";

/// Words that have no single meaning here, each with a hint.
const ANSWERED: [(&str, &str); 14] = [
    ("attach", "`%xtask% logs --follow` shows the output as it is written"),
    ("build", "`%xtask% up` builds what it starts; `cargo build` builds and starts nothing"),
    ("clean", CLEAN),
    ("config", "`%xtask% up --dry-run` prints the plan, `%xtask% explain SERVICE` each setting"),
    ("exec", "`%xtask% run SERVICE -- COMMAND` runs a command with the variables of a service"),
    ("kill", "`%xtask% down --now` kills all processes at once"),
    ("list", LIST),
    ("ls", LIST),
    (
        "reload",
        "`%xtask% restart SERVICE` applies edits; `%xtask% up --watch` applies each at once",
    ),
    ("rm", CLEAN),
    ("serve", "`%xtask% up` starts the services"),
    ("stats", "`%xtask% status` shows the memory and the uptime of each service"),
    ("top", "`%xtask% status` shows the memory and the uptime of each service"),
    ("watch", "`%xtask% up --watch` builds again after each edit"),
];

/// Options that other tools have, each with its command and a hint.
const OPTIONS: [(&str, &[&str], &str); 4] = [
    ("up", &["--build"], "omit it: `%xtask% up` builds what it starts, unless `--no-build` is set"),
    ("up", &["-f", "--follow"], "omit it: `%xtask% up` follows the logs, unless `-d` is set"),
    ("down", &["-v", "--volumes"], CLEAN),
    (
        "status",
        &["-w", "-f", "--watch", "--follow"],
        "`watch %xtask% status` repeats it; `%xtask% logs --follow` shows new output",
    ),
];

/// Where the command is among the arguments, of which the program is the first.
pub(crate) fn command_place(arguments: &[OsString]) -> Option<usize> {
    let global = Global::add(Command::new(""));
    let takes_value = |word: &str| {
        let mut options = global.get_arguments().filter_map(Arg::get_long);
        word.strip_prefix("--").is_some_and(|word| options.any(|option| option == word))
    };
    let mut words = arguments.iter().enumerate().skip(1);
    while let Some((place, word)) = words.next() {
        match word.to_str().unwrap_or_default() {
            "--" => return None,
            option if takes_value(option) => drop(words.next()),
            option if option.starts_with('-') => {}
            _ => return Some(place),
        }
    }
    None
}

/// The arguments with words of other tools replaced, and with a question for help behind its
/// command.
pub(crate) fn translated(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(mut place) = command_place(&arguments) else { return arguments };
    if arguments[place] == "help" {
        arguments.remove(place);
        if let Some(command) = command_place(&arguments) {
            arguments.truncate(command + 1);
        }
        arguments.push("--help".into());
        return translated(arguments);
    }
    if let Some(asked) = arguments[..place].iter().position(is_help) {
        let help = arguments.remove(asked);
        arguments.insert(place, help);
        place -= 1;
    }
    if let Some((_, meant)) = SAME.iter().find(|(word, _)| arguments[place] == *word) {
        let detaches = before_dashes(&arguments).any(|word| word == DETACH || word == "-d");
        let meant = meant.iter().filter(|word| !detaches || **word != DETACH);
        arguments.splice(place..=place, meant.map(OsString::from));
    }
    arguments
}

/// The arguments that ask for the help of the command which these name, if they ask for help.
/// For arguments that clap refuses: it reads `--with --help` as an option without its value.
pub(crate) fn help_of(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let help = before_dashes(arguments).find(|word| is_help(word))?;
    let command = command_place(arguments).map(|place| &arguments[place]);
    Some(arguments.first().into_iter().chain(command).chain([help]).cloned().collect())
}

/// Why the arguments are refused before clap reads them, with what the user may have meant.
pub(crate) fn refused(arguments: &[OsString]) -> Option<Failure> {
    let command = arguments[command_place(arguments)?].to_str()?;
    if let Some((_, hint)) = ANSWERED.iter().find(|(word, _)| *word == command) {
        return Some(no_command(command).hint(*hint));
    }
    let words: Vec<&str> =
        before_dashes(arguments).map(|word| word.to_str().unwrap_or("")).collect();
    for (_, options, hint) in OPTIONS.iter().filter(|(of, ..)| *of == command) {
        if let Some(option) = words.iter().find(|word| options.contains(word)) {
            let message = format!("`%xtask% {command}` has no option `{option}`");
            return Some(Failure::new(Exit::USAGE, message).hint(*hint));
        }
    }
    let after = words.iter().position(|word| *word == "--containers")? + 1;
    let named = words[after..].iter().take_while(|word| !word.is_empty() && !word.starts_with('-'));
    let named: Vec<&str> = named.copied().collect();
    (!named.is_empty()).then(|| {
        let message = format!("`--containers {}` may mean two things", named.join(" "));
        Failure::new(Exit::USAGE, message).hint(format!(
            "`--containers={}` names what runs in containers; `--containers` as the last word runs \
             all there",
            named.join(",")
        ))
    })
}

/// The failure of a mistyped command, with the command that the user may have meant.
pub(crate) fn mistyped(error: &Error) -> Option<Failure> {
    let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    else {
        return None;
    };
    let commands = whole::<Elsewhere>();
    let shown = commands.get_subcommands().filter(|command| !command.is_hide_set());
    let listed = LISTED.iter().map(|listed| listed.name);
    let names = shown.map(Command::get_name).chain(listed);
    Some(no_command(word).hint(match nearest(word, names) {
        Some(meant) => format!("did you mean `%xtask% {meant}`?"),
        None => "`%xtask% --help` lists the commands".to_owned(),
    }))
}

fn no_command(word: &str) -> Failure {
    Failure::new(Exit::USAGE, format!("no command is called `{word}`"))
}

fn before_dashes(arguments: &[OsString]) -> impl Iterator<Item = &OsString> {
    arguments.iter().skip(1).take_while(|word| *word != "--")
}

fn is_help(word: &OsString) -> bool {
    word == "--help" || word == "-h"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &str) -> Vec<OsString> {
        format!("xtask {words}").split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn words_of_other_tools_become_commands() {
        for (typed, meant) in [
            ("ps --json", "status --json"),
            ("--stack a stop web", "--stack a down web"),
            ("start web", "up --detach web"),
            ("start -d web", "up -d web"),
            ("start web -- -d", "up --detach web -- -d"),
            ("version", "--version"),
            ("help", "--help"),
            ("help export compose", "export --help"),
            ("help ps", "status --help"),
            ("help help", "--help --help"),
            ("--help up", "up --help"),
            ("--stack a -h start", "--stack a up --detach -h"),
            ("up help", "up help"),
            ("up -- ps", "up -- ps"),
            ("--stack ps", "--stack ps"),
            ("-- ps", "-- ps"),
            ("", ""),
        ] {
            assert_eq!(translated(arguments(typed)), arguments(meant), "{typed}");
        }
    }

    #[test]
    fn help_is_found_where_clap_needs_a_value() {
        for (typed, meant) in [
            ("up --with --help", Some("up --help")),
            ("--stack -h", Some("-h")),
            ("up -- --help", None),
            ("up --with", None),
        ] {
            assert_eq!(help_of(&arguments(typed)), meant.map(arguments), "{typed}");
        }
    }

    #[test]
    fn mistyped_command_is_answered_with_the_nearest() {
        for (typed, meant) in [("test-e2", "test-e2e"), ("statsu", "status"), ("expotr", "export")]
        {
            let parsed = whole::<Elsewhere>().try_get_matches_from(arguments(typed));
            let failure = mistyped(&parsed.unwrap_err()).unwrap();
            let hint = crate::cli::error::hint(&failure.into()).unwrap();
            assert_eq!(hint, format!("did you mean `%xtask% {meant}`?"), "{typed}");
        }
    }

    #[test]
    fn no_word_hides_a_command() {
        let commands = whole::<Elsewhere>();
        let words = SAME.iter().map(|(word, _)| *word).chain(ANSWERED.map(|(word, _)| word));
        for word in words.chain(["help"]) {
            assert!(commands.find_subcommand(word).is_none(), "{word}");
            assert!(LISTED.iter().all(|listed| listed.name != word), "{word}");
        }
        for (name, options, _) in OPTIONS {
            let command = commands.find_subcommand(name).unwrap();
            for argument in command.get_arguments() {
                let long = argument.get_long().map(|long| format!("--{long}"));
                let short = argument.get_short().map(|short| format!("-{short}"));
                let own = [long, short].into_iter().flatten();
                assert!(own.into_iter().all(|own| !options.contains(&&*own)), "{name}");
            }
        }
    }
}
