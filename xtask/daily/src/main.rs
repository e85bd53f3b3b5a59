//! The program that `cargo xtask` builds first: the commands of every day.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::run()
}
