//! Nothing survives: whatever is killed, at whatever moment, a second later nothing of
//! the stack is there, as seen from outside: no process in its folders or with its
//! mark, no listener on its ports, no socket, no note of a running supervisor.

mod companions;
mod kills;
mod marks;
mod victim;

pub(crate) use victim::{mark, remains, sweeper};

use xtask_test_support::{Fixture, misbehave};

/// Ten services, most of them badly behaved.
fn zoo(name: &str) -> Fixture {
    const HABITS: [&str; 6] = [
        r#""--ignore-term", "--listen-env", "--grandchild", "--grandchild-setsid""#,
        r#""--listen-env", "--drain", "30000""#,
        r#""--listen-env", "--flood", "20000""#,
        r#""--listen-env", "--grandchild-setsid""#,
        r#""--listen-env""#,
        r#""--ignore-term", "--listen-env", "--grandchild-daemon", "--flood-on""#,
    ];
    let program = misbehave().display().to_string();
    let mut services = String::new();
    for number in 0..10 {
        let habits = HABITS[number % HABITS.len()];
        let waits = match number {
            0 => String::new(),
            _ => format!("depends-on = [\"s{}\"]\n", (number - 1) / 2),
        };
        services.push_str(&format!(
            "[workspace.metadata.services.s{number}]\n\
             command = [{program:?}, {habits}, \"--ready-line\", \"up\"]\n\
             port = 0\nready = {{ log = \"^up\" }}\nstop = {{ timeout = \"3s\" }}\n{waits}"
        ));
    }
    Fixture::new(name).workspace(&services)
}
