//! `completions`: prints a script that completes commands and options in a shell.

use clap::{Args, ValueEnum};
use clap_complete::{Shell, generate};

use xtask::cli::{Exit, print};
use xtask_control::called_as::named;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that reads the script
    #[arg(value_name = "SHELL")]
    shell: Supported,
}

/// The shells for which a script is made.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
}

/// The program that the scripts complete.
const PROGRAM: &str = "cargo-services";

/// In bash the words after `cargo services` and the alias of a workspace are completed too; for
/// all others cargo's own script is called, if it is loaded.
const AFTER_CARGO: &str = r#"
_cargo_then_services() {
    case "${COMP_WORDS[1]}" in
    services | xtask)
        COMP_WORDS=(cargo-services "${COMP_WORDS[@]:2}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _cargo__services cargo-services "$2" "$3"
        ;;
    *)
        if declare -F _cargo >/dev/null; then _cargo "$@"; fi
        ;;
    esac
}
complete -F _cargo_then_services -o nosort -o bashdefault -o default cargo
"#;

pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    print::bytes(named(&script(args.shell)).as_bytes())?;
    Ok(Exit::DONE)
}

fn script(shell: Supported) -> String {
    let (shell, more) = match shell {
        Supported::Bash => (Shell::Bash, AFTER_CARGO),
        Supported::Zsh => (Shell::Zsh, ""),
        Supported::Fish => (Shell::Fish, ""),
    };
    let mut script = Vec::new();
    generate(shell, &mut xtask::cli::command::<super::Rare>(), PROGRAM, &mut script);
    String::from_utf8_lossy(&script).into_owned() + more
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn bash_completes_the_words_after_cargo() {
        let script = script(Supported::Bash);
        let ask = |words: &str, at: usize, last: &str| {
            let call = format!(
                "{script}\nCOMP_WORDS=({words}); COMP_CWORD={at}; \
                 _cargo_then_services cargo {last:?} xtask; echo \"${{COMPREPLY[*]}}\""
            );
            let output = Command::new("bash").args(["-c", &call]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(ask("cargo services sta", 2, "sta").contains("status"));
        assert!(ask("cargo services doc", 2, "doc").contains("doctor"));
        assert!(!ask("cargo services super", 2, "super").contains("supervise"));
        assert_eq!(ask("cargo bui", 1, "bui").trim(), "");
    }

    #[test]
    fn each_shell_gets_a_script() {
        assert!(script(Supported::Zsh).starts_with("#compdef cargo-services"));
        assert!(script(Supported::Fish).contains("complete -c cargo-services"));
    }
}
