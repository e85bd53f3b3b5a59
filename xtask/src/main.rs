//! `cargo services`: the whole tool in one program, to be installed.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::run()
}
