//! Variables that a process has from whoever started it and that say something about itself
//! alone: whoever starts another program takes them out.
//!
//! What else a program does without is its starter's affair.

/// What cargo or a test runner says of the program that it runs; with `_` at the end, how it
/// begins.
const OF_CARGO: [&str; 11] = [
    "CARGO",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "NEXTEST",
    "NEXTEST_",
    "OUT_DIR",
    "RUST_RECURSION_COUNT",
];

/// What a service manager says of the process that it runs, in the same way.
const OF_A_SUPERVISOR: [&str; 7] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_",
    "MANAGERPID",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_",
];

/// Whether a variable is cargo's or a test runner's word about the program that it runs, and
/// no setting of the user.
#[must_use]
pub fn is_of_cargo(name: &str) -> bool {
    is_listed(&OF_CARGO, name)
}

/// Whether a variable is a service manager's word about the process that it runs.
#[must_use]
pub fn is_of_a_supervisor(name: &str) -> bool {
    is_listed(&OF_A_SUPERVISOR, name)
}

fn is_listed(list: &[&str], name: &str) -> bool {
    list.iter().any(|listed| match listed.ends_with('_') {
        true => name.starts_with(listed),
        false => name == *listed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_program_is_told_from_what_the_user_sets() {
        for name in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "NEXTEST_RUN_ID", "OUT_DIR"] {
            assert!(is_of_cargo(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_PROFILE_DEV_DEBUG", "PATH"] {
            assert!(!is_of_cargo(name) && !is_of_a_supervisor(name), "{name}");
        }
        for name in ["LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
            assert!(is_of_a_supervisor(name) && !is_of_cargo(name), "{name}");
        }
    }
}
