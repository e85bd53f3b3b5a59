//! Environment variables that describe one process alone. A program that starts another one removes
//! them.

/// The variables that cargo sets for a program that it runs; a name with a final `_` is a prefix.
const CARGO: [&str; 8] = [
    "CARGO",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "RUST_RECURSION_COUNT",
];

/// The variables by which a service manager speaks to one process, by their exact names. Others
/// that begin alike, such as `LISTEN_ADDR`, belong to the user.
const SERVICE_MANAGER: [&str; 8] = [
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Whether cargo sets the variable for the program that it runs. Settings of the
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
        for name in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(is_cargo_variable(name), "{name}");
        }
        for name in
            ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_REGISTRY_TOKEN", "LISTEN_ADDR", "OUT_DIR"]
        {
            assert!(!is_cargo_variable(name) && !is_service_manager_variable(name), "{name}");
        }
        for name in ["LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
            assert!(is_service_manager_variable(name) && !is_cargo_variable(name), "{name}");
        }
    }
}
