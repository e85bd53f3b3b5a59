//! Environment variables that describe one process alone. A program that starts another one removes
//! them.

/// The variables that cargo and test runners set for a program; a name with a final `_` is a
/// prefix.
const CARGO: [&str; 11] = [
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

/// The variables that a service manager sets for a process, in the same form.
const SERVICE_MANAGER: [&str; 7] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_",
    "MANAGERPID",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_",
];

/// Whether cargo or a test runner sets the variable for the program that it runs. Settings of the
/// user, such as `CARGO_HOME`, are not among them.
pub fn is_cargo_variable(name: &str) -> bool {
    is_listed(&CARGO, name)
}

/// Whether a service manager sets the variable for the process that it runs.
pub fn is_service_manager_variable(name: &str) -> bool {
    is_listed(&SERVICE_MANAGER, name)
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
    fn process_variables_are_not_user_settings() {
        for name in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "NEXTEST_RUN_ID", "OUT_DIR"] {
            assert!(is_cargo_variable(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_PROFILE_DEV_DEBUG", "PATH"] {
            assert!(!is_cargo_variable(name) && !is_service_manager_variable(name), "{name}");
        }
        for name in ["LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
            assert!(is_service_manager_variable(name) && !is_cargo_variable(name), "{name}");
        }
    }
}
