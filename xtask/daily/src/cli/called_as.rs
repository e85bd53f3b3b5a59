//! Finds out how the user called the tool, so that each message names that command.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

use xtask_control::called_as::{self, CALLED_AS_VARIABLE};

use super::brought::translated;
use crate::view::words::quoted;

static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// The arguments of this process as clap reads them: program, then command, with words of other
/// tools replaced. The first call, before
/// there is a second thread, sets the tool's name.
pub(crate) fn arguments() -> &'static [OsString] {
    ARGUMENTS.get_or_init(|| {
        let passed = env::var(CALLED_AS_VARIABLE).ok();
        // SAFETY: this is the only thread. Services and other programs must not inherit the name.
        unsafe { env::remove_var(CALLED_AS_VARIABLE) };
        let (name, arguments) = read(env::args_os().collect(), passed);
        called_as::set(name);
        translated(arguments)
    })
}

/// The name and the arguments. `passed` is the name that the program in front of the tool passes.
///
/// Cargo starts `cargo-NAME NAME ...` for `cargo NAME ...`.
fn read(mut arguments: Vec<OsString>, passed: Option<String>) -> (String, Vec<OsString>) {
    let program = arguments.first().cloned().unwrap_or_default();
    let file = Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let subcommand = file.strip_prefix("cargo-").filter(|name| !name.is_empty());
    let by_cargo = subcommand.filter(|name| arguments.get(1).is_some_and(|first| first == name));
    if by_cargo.is_some() {
        arguments.remove(1);
    }
    let name = match (passed.filter(|name| !name.is_empty()), by_cargo) {
        (Some(name), _) => name,
        (None, Some(subcommand)) => format!("cargo {}", quoted(subcommand)),
        (None, None) if program.is_empty() => called_as::ALIAS.to_owned(),
        (None, None) => quoted(&program.to_string_lossy()),
    };
    (name, arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_what_the_user_typed() {
        for (arguments, passed, name, rest) in [
            (&["/bin/cargo-services", "services", "up"][..], None, "cargo services", &["up"][..]),
            (&["/b/cargo-xtask", "xtask", "xtask"], None, "cargo xtask", &["xtask"]),
            (&["cargo-services", "up"], None, "cargo-services", &["up"]),
            (&["target/debug/xtask", "up"], None, "target/debug/xtask", &["up"]),
            (&["./my copy", "services"], None, "'./my copy'", &["services"]),
            (&["/t/debug/xtask", "up"], Some("cargo xtask"), "cargo xtask", &["up"]),
            (&["cargo-"], Some(""), "cargo-", &[]),
            (&[], None, "cargo xtask", &[]),
        ] {
            let words = arguments.iter().map(OsString::from).collect();
            let (read_name, read_rest) = read(words, passed.map(str::to_owned));
            assert_eq!(read_name, name);
            assert!(read_rest.iter().skip(1).eq(rest), "{read_rest:?}");
        }
    }
}
